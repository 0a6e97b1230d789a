"""`escalade export`: from a torch model to an artifact; knows no network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption

_GOLDEN_PROMPTS = 8
# More change the rounding little, and each is read by the torch model.
_GPTQ_PROMPTS = 256


class LayoutChoice(StrEnum):
    """Whose files may lie beside the program."""

    optimum = "optimum"
    genai = "genai"


class FormatChoice(StrEnum):
    """What an artifact's program may be."""

    onnx = "onnx"
    executorch = "executorch"


class QuantizeChoice(StrEnum):
    """How weights may be stored."""

    none = "none"
    float16 = "float16"
    int8 = "int8"
    int4 = "int4"
    dynamic_int8 = "dynamic-int8"
    eight_da_four_w = "8da4w"


def export(
    model: Annotated[
        str, typer.Argument(help="Model folder (config, safetensors, tokenizer), or hub:NAME.")
    ],
    out: Annotated[Path, typer.Argument(help="Artifact folder to write; replaced if there.")],
    format: Annotated[
        FormatChoice, typer.Option("--format", help="The runtime it is for.")
    ] = FormatChoice.onnx,
    quantize: Annotated[
        QuantizeChoice,
        typer.Option(
            "--quantize",
            help="onnx: none, float16, int8, int4, dynamic-int8; executorch: none, 8da4w.",
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
    gptq: Annotated[
        Path | None,
        typer.Option(
            "--gptq",
            help="Query records; weights are rounded so that products on 256 of them stay.",
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
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest response by default.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Turn a torch model into an artifact the device opens; checked against torch."""
    from escalade.checkpoint import locate
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.export.artifact import DEFAULT_GOLDEN_PROMPTS, export_artifact

    notes = note_console()
    located = locate(model)
    manifest = export_artifact(
        located.folder,
        out,
        name=located.name,
        format=format.value,
        quantize=quantize.value,
        block_size=block_size,
        head_bits=head_bits,
        layout=None if layout is None else layout.value,
        gptq_prompts=_prompts(gptq, _GPTQ_PROMPTS),
        golden_prompts=_prompts(golden, _GOLDEN_PROMPTS) or DEFAULT_GOLDEN_PROMPTS,
        max_new_tokens=max_new_tokens,
        progress=lambda step: notes.print(f"{step} ...", style="dim"),
    )
    if json:
        print_json(manifest)
        return
    size = sum(entry.bytes for entry in manifest.files.values())
    parity = manifest.parity
    result_console().print(
        f"{out}: {manifest.format}, {manifest.quantization.detail}, {size:,} bytes\n"
        f"parity with torch on {parity.prompts} golden prompts: {parity.same_tokens} with the same"
        f" tokens, mean |delta NLL| {parity.mean_abs_delta_nll:.2g}"
    )


def _prompts(records: Path | None, count: int) -> list[str]:
    from escalade.edge.base import read_records, subsample

    if records is None:
        return []
    return [record.prompt for record in subsample(read_records(records), count)]
