"""Writes an artifact: program, tokenizer and manifest, checked against torch; knows no network.

The folder is written aside and renamed whole: a failed export leaves nothing behind, and one that
was interrupted the matrices that it had rounded, beside it, for the next to go on from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from escalade.checkpoint import window_of
from escalade.edge.artifact import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    TOKENIZER_NAME,
    Format,
    Manifest,
    ModelEntry,
    ParityEntry,
    Scheme,
    file_entry,
    write_manifest,
)
from escalade.edge.base import atomic_folder, naming, utc_now
from escalade.edge.deferral import DeferralEntry
from escalade.edge.generation import Artifact, Reading
from escalade.edge.memory import return_large_blocks
from escalade.edge.runtimes import open_llamacpp
from escalade.export.artifact.layouts import fit_program, write_layout
from escalade.export.artifact.program import write_program
from escalade.export.errors import ExportParityError
from escalade.export.held import answer_golden, check_parity, measure_parity
from escalade.export.kept import kept_beside
from escalade.export.memory import give_back
from escalade.export.model import (
    check_fits,
    generation_of,
    load_model,
    model_entry,
    write_tokenizer,
)
from escalade.export.onnx import check_budget
from escalade.export.quiet import quiet
from escalade.export.settings import Layout, Settings
from escalade.export.text import (
    AS_KEPT,
    NEAREST,
    RoundingText,
    calibrate,
    enough_prompts,
    read_trained_text,
)
from escalade.export.versions import versions_of

#: Used where the caller gives none: the prompts of a model whose tasks are not known.
DEFAULT_GOLDEN_PROMPTS = ("Hello", "The quick brown fox", "1 + 1 =")
_PACKAGES = (
    "escalade", "torch", "torchao", "transformers", "onnx", "onnxruntime", "executorch", "gguf",
    "llama_cpp_python",
)  # fmt: skip


def export_artifact(
    model_dir: Path,
    out: Path,
    *,
    name: str | None = None,
    format: Format = "onnx",
    quantize: Scheme = "none",
    block_size: int | None = None,
    head_bits: int | None = None,
    bits: float | None = None,
    memory_bits: float | None = None,
    activation_bits: int | None = None,
    rounded_by: RoundingText = AS_KEPT,
    tuned: bool = True,
    held_out: Sequence[str] = (),
    layout: Layout | None = None,
    golden_prompts: Sequence[str] = DEFAULT_GOLDEN_PROMPTS,
    max_new_tokens: int | None = None,
    measured: Callable[[Path, Manifest], Manifest] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Export a causal LM or an encoder-decoder to an artifact folder.

    Args:
        model_dir: a transformers model folder with safetensors and tokenizer.json.
        out: the artifact; replaced if an artifact is there.
        name: what the model is called; as its folder if None.
        format: `onnx`, `executorch` or `gguf`.
        quantize: how weights are stored; for `onnx` `none` (float32), `float16`, `int8`, `int4`
            or `dynamic-int8`, for `executorch` `none` or `8da4w`, for `gguf` `none`, `float16`,
            `int8` or `int4`.
        block_size: input values that share a scale; 32 in `int4` and 64 in `int8` if None.
        head_bits: of embedding and head in `int4`, of the embedding in `8da4w`: 4 or 8; 8 if
            None.
        bits: for each weight of a decoder in `int4`, scales and all else of the program counted:
            each matrix gets bits and block size of its own, by what it costs in KL.
        memory_bits: for each weight too, at most, but of its matrix as kernels hold it in memory,
            which is more than is stored: with `bits` alone.
        activation_bits: of what `int8` and `int4` weights are multiplied with: 8, which a runtime
            rounds to where it is faster so, or 32, with which all give the same; 8 if None.
        rounded_by: text that weights are rounded by in `int4` and `int8`.
        tuned: whether the rounded matrices of a small decoder in `int4` are tuned all together by
            answers to the prompts of that text, where there are any.
        held_out: prompts that `measure_lost` is to be given; refused at once where it has none to
            read.
        layout: add what another library wants beside the program, so that it opens it too.
        golden_prompts: held against torch now, and by every later opening.
        max_new_tokens: longest response by default; if None as long as the model's folder asks
            for, or 256, and at most half the window.
        measured: given the whole artifact before it is put in its place, what else was measured of
            it is written into its manifest, which it returns.
        progress: called with a line before each step.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: the model cannot be loaded, or is of a kind that cannot be written.
        OptionError: the format does not take an option, or no program has so few or many bits.
        DataError: the prompts that the model's folder keeps cannot be read.
        ArtifactError: llama.cpp is wanted, and is not installed.
        PromptError: the model cannot read a golden prompt, or has no room for an answer.
        ExportParityError: an unquantized program does not give torch's tokens and NLL, or any
            program a score that is no number.
    """
    settings = Settings(
        format=format,
        quantize=quantize,
        block_size=block_size,
        head_bits=head_bits,
        bits=bits,
        memory_bits=memory_bits,
        activation_bits=activation_bits,
        layout=layout,
    )
    settings.check_text(rounded_by, held_out=bool(held_out))
    if format == "gguf":
        open_llamacpp()
    trained = None
    if rounded_by == AS_KEPT and format == "onnx" and quantize == "int4":
        trained = read_trained_text(model_dir)
    progress("loading the model")
    # From here on: in the holes of a heap that large blocks were freed in up to 150 MB stayed.
    return_large_blocks()
    model = load_model(model_dir)
    generation = generation_of(model, model_dir)
    check_fits(model, quantize)
    if model.config.is_encoder_decoder:
        settings.check_encoder_decoder(rounded_by, held_out=bool(held_out))
    window = window_of(model.config)
    check_budget(model, settings, window)  # before text is written and read, which takes minutes
    with kept_beside(out) as kept, atomic_folder(out, marker=MANIFEST_NAME) as folder:
        tokenizer = write_tokenizer(model_dir, folder)
        entry = model_entry(
            model,
            generation,
            tokenizer,
            model_dir,
            folder,
            window,
            max_new_tokens,
            name=name or model_dir.resolve().name,
        )
        _check_prompts(entry, folder, golden_prompts, held_out)
        if layout is not None:
            write_layout(layout, model_dir, folder, model, entry)
        if trained and enough_prompts(trained.prompts or (), folder, window, progress):
            rounded_by = trained
        text, answers = calibrate(
            model,
            folder,
            quantize,
            NEAREST if format == "gguf" else rounded_by,
            window,
            progress,
            end_ids=generation.end_ids,
            kept=kept,
            hangs_on={
                "weights": entry.revision,
                "config": json.loads(model.config.to_json_string(use_diff=False)),
                "window": window,
                "end_ids": generation.end_ids,
                "tokenizer": entry.tokenizer_fingerprint,
                "options": asdict(settings),
                "versions": versions_of(_PACKAGES),
            },
            budgeted=bits is not None,
            tuned=tuned and format == "onnx",
        )
        progress(f"writing the {format} program")
        with quiet():
            if format == "gguf":
                from escalade.export.gguf import kv_bytes_of

                entry = msgspec.structs.replace(entry, kv_bytes=kv_bytes_of(quantize))
            program, encoder, quantization = write_program(
                model,
                generation,
                tokenizer,
                folder,
                settings,
                window,
                answers,
                kept,
                progress,
            )
        if layout is not None:
            fit_program(layout, folder / program)
        quantization = msgspec.structs.replace(quantization, detail=quantization.detail + text)
        files = {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.is_file()}
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format=format,
            program=program,
            encoder=encoder,
            files=files,
            model=entry,
            quantization=quantization,
            deferral=DeferralEntry(),
            golden=[],
            parity=ParityEntry(
                prompts=0, same_tokens=0, mean_abs_delta_nll=0.0, max_abs_delta_nll=0.0
            ),
            versions=versions_of(_PACKAGES),
            created=utc_now(),
        )
        write_manifest(folder, manifest)
        progress("asking the program")
        # Beside them the program's own weights, and a model again, would be too much memory.
        del model, tokenizer, answers
        give_back()
        manifest = _held_against_torch(
            folder, manifest, model_dir, golden_prompts, quantize, progress
        )
        if measured is not None:
            manifest = measured(folder, manifest)
    return manifest


def _held_against_torch(
    folder: Path,
    manifest: Manifest,
    model_dir: Path,
    prompts: Sequence[str],
    quantize: Scheme,
    progress: Callable[[str], None],
) -> Manifest:
    """Write into a manifest what its program answers, and how near to torch that is."""
    golden = answer_golden(Artifact.open(folder), prompts)
    progress("checking parity with torch")
    with quiet():
        parity = measure_parity(load_model(model_dir), golden)
    try:
        check_parity(parity, golden, quantize)
    except ExportParityError as error:
        raise ExportParityError(f"{model_dir}: {error}") from error
    manifest = msgspec.structs.replace(manifest, golden=golden, parity=parity)
    write_manifest(folder, manifest)
    return manifest


def _check_prompts(
    entry: ModelEntry, folder: Path, golden: Sequence[str], held_out: Sequence[str]
) -> None:
    """Refuse now what could not be read once the program is written."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    reading = Reading(entry, tokenizer, None)
    for prompt in golden:
        with naming(f"golden prompt {prompt[:80]!r}"):
            reading.encode(prompt, special_tokens=True)
    if held_out:
        from escalade.export.held import held_out_prompts

        held_out_prompts(tokenizer, held_out, entry.window)
