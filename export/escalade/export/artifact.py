"""Writes an artifact: program, tokenizer and manifest, checked against torch; knows no network.

The folder is written aside and renamed whole: a failed export leaves nothing behind.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import msgspec
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from escalade.edge.artifact import Artifact
from escalade.edge.deferral import DeferralEntry
from escalade.edge.files import folder_aside
from escalade.edge.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    TOKENIZER_NAME,
    Format,
    Manifest,
    ModelEntry,
    ParityEntry,
    QuantizationEntry,
    Scheme,
    file_entry,
    tokenizer_fingerprint,
    weights_revision,
    write_manifest,
)
from escalade.export.errors import ExportParityError, ModelError, OptionError
from escalade.export.parity import measure_parity
from escalade.export.quiet import quiet

#: Used where the caller gives none: the prompts of a model whose tasks are not known.
DEFAULT_GOLDEN_PROMPTS = ("Hello", "The quick brown fox", "1 + 1 =")
# Longest static cache or window written unless the model's own is shorter; a device's memory is not
# a server's, and ExecuTorch allocates all of it.
_MAX_WINDOW = 2048
_PACKAGES = ("escalade", "torch", "transformers", "onnx", "onnxruntime", "executorch")


def export_artifact(
    model_dir: Path,
    out: Path,
    *,
    format: Format = "onnx",
    quantize: Scheme = "none",
    golden_prompts: Sequence[str] = DEFAULT_GOLDEN_PROMPTS,
    max_new_tokens: int | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Export a causal LM to an artifact folder.

    Args:
        model_dir: a transformers model folder with safetensors and tokenizer.json.
        out: the artifact; replaced if an artifact is there.
        format: `onnx` or `executorch`.
        quantize: `none` (float32) or `int8` (ONNX only).
        golden_prompts: held against torch now, and by every later opening.
        max_new_tokens: longest response by default; half the window, at most 256, if None.
        progress: called with a line before each step.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: the model cannot be loaded.
        OptionError: the format does not take an option.
        ExportParityError: an unquantized program does not give torch's tokens.
    """
    if format == "executorch" and quantize != "none":
        raise OptionError(
            f"--quantize for --format executorch must be none, got {quantize}; int8 is for onnx"
        )
    progress("loading the model")
    model = _load(model_dir)
    window = min(int(getattr(model.config, "max_position_embeddings", _MAX_WINDOW)), _MAX_WINDOW)
    with folder_aside(out, marker=MANIFEST_NAME) as folder:
        progress(f"tracing and writing the {format} program")
        with quiet():
            program, detail = _write_program(model, folder, format, quantize, window)
        _write_tokenizer(model_dir, folder)
        progress("checking parity with torch")
        entry = _model_entry(model, model_dir, folder, window, max_new_tokens)
        for path in folder.iterdir():
            path.chmod(0o644)  # onnx writes its data file for the owner alone
        files = {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.is_file()}
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format=format,
            program=program,
            files=files,
            model=entry,
            quantization=QuantizationEntry(scheme=quantize, detail=detail),
            deferral=DeferralEntry(),
            golden=[],
            parity=ParityEntry(
                prompts=0, same_tokens=0, mean_abs_delta_nll=0.0, max_abs_delta_nll=0.0
            ),
            versions=_versions(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        write_manifest(folder, manifest)
        golden, parity = measure_parity(model, Artifact.open(folder), golden_prompts)
        if quantize == "none" and parity.same_tokens != parity.prompts:
            raise ExportParityError(
                f"{model_dir}: {parity.same_tokens} of {parity.prompts} golden prompts gave"
                " torch's tokens; an unquantized program must give all of them"
            )
        manifest = msgspec.structs.replace(manifest, golden=golden, parity=parity)
        write_manifest(folder, manifest)
    return manifest


def _load(model_dir: Path) -> PreTrainedModel:
    if not (model_dir / "config.json").is_file():
        raise ModelError(f"{model_dir}: not a model folder: config.json is missing")
    if not any(model_dir.glob("*.safetensors")):
        raise ModelError(f"{model_dir}: no *.safetensors; other weight formats are not loaded")
    try:
        with quiet():
            model, loading = cast(
                "tuple[PreTrainedModel, dict[str, set[str]]]",
                AutoModelForCausalLM.from_pretrained(
                    model_dir,
                    dtype=torch.float32,
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                ),
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{model_dir}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if missing := sorted(loading["missing_keys"]):
        # transformers fills them with random numbers and only logs it
        raise ModelError(f"{model_dir}: weights missing: {', '.join(missing)}")
    model.eval()
    return model


def _write_program(
    model: PreTrainedModel, folder: Path, format: Format, quantize: Scheme, window: int
) -> tuple[str, str]:
    if format == "executorch":
        from escalade.export import executorch_program

        detail = executorch_program.export_executorch(model, folder, window=window)
        return executorch_program.PROGRAM_NAME, detail
    from escalade.export import onnx_program

    detail = onnx_program.export_onnx(model, folder, quantize=quantize == "int8")
    return onnx_program.PROGRAM_NAME, detail


def _write_tokenizer(model_dir: Path, folder: Path) -> None:
    source = model_dir / TOKENIZER_NAME
    if source.is_file():
        shutil.copyfile(source, folder / TOKENIZER_NAME)
        return
    with tempfile.TemporaryDirectory() as scratch:
        AutoTokenizer.from_pretrained(model_dir, trust_remote_code=False).save_pretrained(scratch)
        converted = Path(scratch) / TOKENIZER_NAME
        if not converted.is_file():
            raise ModelError(f"{model_dir}: its tokenizer cannot be written as {TOKENIZER_NAME}")
        shutil.copyfile(converted, folder / TOKENIZER_NAME)


def _model_entry(
    model: PreTrainedModel,
    model_dir: Path,
    folder: Path,
    window: int,
    max_new_tokens: int | None,
) -> ModelEntry:
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    ends = model.generation_config.eos_token_id if model.generation_config else None
    ends = config.eos_token_id if ends is None else ends
    if ends is None:
        raise ModelError(f"{model_dir}: config.json names no eos_token_id: it would never stop")
    longest = min(window // 2, 256) if max_new_tokens is None else max_new_tokens
    if not 1 <= longest < window:
        raise OptionError(f"--max-new-tokens must be in [1, {window - 1}], got {longest}")
    return ModelEntry(
        name=model_dir.resolve().name,
        revision=weights_revision(model_dir),
        tokenizer_fingerprint=tokenizer_fingerprint(folder / TOKENIZER_NAME),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary_size=config.vocab_size,
        window=window,
        end_of_sequence_ids=[ends] if isinstance(ends, int) else list(ends),
        max_new_tokens=longest,
        layers=config.num_hidden_layers,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
