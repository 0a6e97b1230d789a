"""The verb: reads its options, and says what was written; exports a torch language model."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import JsonOption
from escalade.cli.process import wait_briefly
from escalade.cli.verbs.export.choices import FormatChoice, LayoutChoice, QuantizeChoice
from escalade.cli.verbs.export.other_kinds import export_other_kind

if TYPE_CHECKING:
    from escalade.cli.output import Bar
    from escalade.edge.artifact import Manifest
    from escalade.export.held import Lost

_GOLDEN_PROMPTS = 8
_HELD_OUT_PROMPTS = 64
# Of a weight, before a model is loaded and says its own: none is rounded to fewer, float32 has 32.
_LEAST_BITS, _MOST_BITS = 2, 32


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder (config, safetensors, tokenizer), or hub:NAME; an encoder's too;"
            " or a GGUF file, for llama.cpp."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Artifact folder to write; replaced if there.")],
    format: Annotated[
        FormatChoice, typer.Option("--format", help="The runtime it is for.")
    ] = FormatChoice.onnx,
    quantize: Annotated[
        QuantizeChoice,
        typer.Option(
            "--quantize",
            help="onnx: none, float16, int8, int4, dynamic-int8; executorch: none, 8da4w;"
            " gguf: none, float16, int8, int4.",
        ),
    ] = QuantizeChoice.none,
    block_size: Annotated[
        int | None,
        typer.Option("--block-size", help="Input values that share a scale; int4 32, int8 64."),
    ] = None,
    head_bits: Annotated[
        int | None,
        typer.Option("--head-bits", help="Of embedding and head with int4: 4 or 8; 8."),
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(
            "--bits",
            help="A weight, all told: 2 to 6 or 8 and the block size are chosen for each matrix of"
            " a decoder by what it costs there; as int4.",
        ),
    ] = None,
    memory_bits: Annotated[
        float | None,
        typer.Option(
            "--memory-bits",
            help="With --bits: a weight as it lies in memory, where 3 bits take 4, 5 and 6 take 8,"
            " and a block's scale up to 64; fewer decode faster, and lose more.",
        ),
    ] = None,
    activation_bits: Annotated[
        int | None,
        typer.Option(
            "--activation-bits",
            help="Of what int4 and int8 weights are multiplied with: 8, rounded where that is"
            " faster; 32, the same answers in a browser as here.",
        ),
    ] = None,
    gptq: Annotated[
        str | None,
        typer.Option(
            "--gptq",
            metavar="DATA|own|none",
            help="Query records; weights are rounded so that products on 256 of them stay, and in a"
            " small model tuned by answers to 4,096. Without, int4 takes the prompts that a"
            " checkpoint keeps of its training data, or text that the model writes; own: such text"
            " always; none: each to its nearest.",
        ),
    ] = None,
    layout: Annotated[
        LayoutChoice | None,
        typer.Option("--layout", help="Add what another library wants, so that it opens it too."),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option("--golden", help="Query records; 8 prompts of them become golden ones."),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            "--held-out",
            metavar="DATA|none",
            help="Query records; what rounding lost is measured on answers to 64 of them. Without,"
            " on text that the model writes; none: not at all.",
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest response by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Turn a torch model, or a linear classifier, into an artifact; checked against torch."""
    from escalade.cli.lines import budget_table, took_line
    from escalade.cli.output import note_console, print_json, progress_bar, result_console
    from escalade.edge.base import counted

    wait_briefly()
    start = perf_counter()
    if bits is not None and not _LEAST_BITS <= bits <= _MOST_BITS:
        raise typer.BadParameter(
            f"--bits must be in [{_LEAST_BITS}, {_MOST_BITS}], for most models less; got {bits:g}"
        )
    texts = _prompts(golden, _GOLDEN_PROMPTS)
    only_text = {
        "--block-size": block_size, "--head-bits": head_bits, "--bits": bits,
        "--memory-bits": memory_bits, "--activation-bits": activation_bits, "--gptq": gptq,
        "--layout": layout, "--max-new-tokens": max_new_tokens, "--held-out": held_out,
        "--format": None if format is FormatChoice.onnx else format,
    }  # fmt: skip
    lost: Lost | None = None
    with progress_bar("exporting") as bar:
        manifest = export_other_kind(
            model, out, texts, format, quantize, max_new_tokens, only_text, bar.doing
        )
        if manifest is None:
            from escalade.checkpoint import locate
            from escalade.export.artifact import DEFAULT_GOLDEN_PROMPTS, export_artifact
            from escalade.export.text import AS_KEPT, NEAREST, OWN_TEXT, read_rounding_text

            text = AS_KEPT
            if gptq is not None:
                by_name = {"none": NEAREST, "own": OWN_TEXT}
                text = by_name.get(gptq) or read_rounding_text(Path(gptq))
            unseen = _prompts_or_none(held_out, _HELD_OUT_PROMPTS)
            located = locate(model)
            if bits is not None and quantize is QuantizeChoice.none:
                quantize = QuantizeChoice.int4
            is_rounded = quantize is not QuantizeChoice.none

            def measured(folder: Path, manifest: Manifest) -> Manifest:
                from escalade.export.held import keep_lost

                nonlocal lost
                lost = _lost(folder, located.folder, unseen, format, bar)
                return manifest if lost is None else keep_lost(folder, manifest, lost)

            manifest = export_artifact(
                located.folder,
                out,
                name=located.name,
                format=format.value,
                quantize=quantize.value,
                block_size=block_size,
                head_bits=head_bits,
                bits=bits,
                memory_bits=memory_bits,
                activation_bits=activation_bits,
                layout=None if layout is None else layout.value,
                rounded_by=text,
                held_out=unseen or (),
                golden_prompts=texts or DEFAULT_GOLDEN_PROMPTS,
                max_new_tokens=max_new_tokens,
                measured=measured if is_rounded and held_out != "none" else None,
                progress=bar.doing,
            )
    note_console().print(took_line(perf_counter() - start), style="dim")
    if json:
        print_json(manifest if lost is None else lost.beside(manifest))
        return
    size = manifest.total_bytes
    parity = manifest.parity
    held = (
        f"parity with torch on {counted(parity.prompts, 'golden prompt')}: {parity.same_tokens}"
        f" with the same {'label' if manifest.classifier else 'tokens'}, mean |delta NLL|"
        f" {parity.mean_abs_delta_nll:.2g}"
    )
    if manifest.embedding:
        held = (
            f"parity with torch on {counted(len(manifest.embedding.golden), 'golden text')}: no"
            f" number of a vector more than {manifest.embedding.max_abs_delta:.2g} off"
        )
    elif not parity.prompts:
        held = "held against nothing: there is no other program of it"
        if manifest.quantization.scheme != "none":
            held += "; what its rounding lost is not known"
    result_console().print(
        f"{out}: {manifest.format}, {manifest.quantization.detail}, {size:,} bytes\n{held}"
        + (f"\n{lost.in_words}" if lost else "")
    )
    if manifest.quantization.budget:
        result_console().print(budget_table(manifest.quantization.budget))


def _lost(
    artifact: Path, model: Path, unseen: list[str] | None, format: FormatChoice, bar: Bar
) -> Lost | None:
    """What rounding lost; None where that cannot be told, which the format's word says."""
    from escalade.export.held import measure_lost
    from escalade.export.settings import MEASURED

    if format.value not in MEASURED:
        bar.say(f"what was lost is measured with --format {' and '.join(MEASURED)} alone")
        return None
    bar.doing("measuring what was lost")
    return measure_lost(artifact, model, unseen)


def _prompts_or_none(records: str | None, count: int) -> list[str] | None:
    """None where the model is to write text itself."""
    if records is None:
        return None
    return [] if records == "none" else _prompts(Path(records), count)


def _prompts(records: Path | None, count: int) -> list[str]:
    from escalade.edge.base import read_records, subsample

    if records is None:
        return []
    return [record.prompt for record in subsample(read_records(records), count)]
