"""Refuses options of an export that do not go together; loads no model, knows no program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from escalade.edge.artifact import Format, Scheme
from escalade.edge.runtimes import open_llamacpp
from escalade.export.errors import OptionError
from escalade.export.held import MEASURED
from escalade.export.text import RoundingText

if TYPE_CHECKING:
    from escalade.export.artifact.layouts import Layout

#: How weights may be stored, for each runtime.
SCHEMES: dict[Format, tuple[Scheme, ...]] = {
    "onnx": ("none", "float16", "int8", "int4", "dynamic-int8"),
    "executorch": ("none", "8da4w"),
    "gguf": ("none", "float16", "int8", "int4"),
}
# Of a weight that is not rounded.
_FLOAT_BITS = 32


def check_options(
    format: Format,
    quantize: Scheme,
    block_size: int | None,
    head_bits: int | None,
    bits: float | None,
    memory_bits: float | None,
    activation_bits: int | None,
    rounded_by: RoundingText,
    layout: Layout | None,
    held_out: Sequence[str],
) -> None:
    """Refuse what the format, or the way that weights are stored, does not take.

    Raises:
        OptionError: see `export_artifact`, whose arguments these are.
        ArtifactError: llama.cpp is wanted, and is not installed.
    """
    if layout is not None and format != "onnx":
        raise OptionError(f"--layout is for --format onnx, got {layout} for {format}")
    if bits is not None and format == "executorch":
        raise OptionError(f"--bits is for --format onnx, got {bits:g} for {format}")
    if quantize not in SCHEMES[format]:
        raise OptionError(
            f"--quantize for --format {format} must be one of {', '.join(SCHEMES[format])},"
            f" got {quantize}"
        )
    if format != "onnx" and block_size is not None:
        raise OptionError(f"--block-size is for --format onnx, got {block_size} for {format}")
    if format == "gguf":
        _check_llamacpp(
            head_bits, bits, activation_bits, by_text=rounded_by.own or bool(rounded_by.prompts)
        )
        open_llamacpp()
    if head_bits is not None and quantize not in {"int4", "8da4w"}:
        raise OptionError(f"--head-bits is for --quantize int4 and 8da4w, got it for {quantize}")
    if activation_bits is not None and (format != "onnx" or quantize not in {"int4", "int8"}):
        raise OptionError(
            "--activation-bits is for --format onnx --quantize int4 and int8, got it for"
            f" {format} {quantize}"
        )
    if rounded_by.own and quantize != "int4":
        raise OptionError(f"--gptq own is for --quantize int4, got it for {quantize}")
    if rounded_by.prompts and quantize not in {"int4", "int8"}:
        raise OptionError(f"--gptq is for --quantize int4 and int8, got it for {quantize}")
    if held_out and (format not in MEASURED or quantize == "none"):
        raise OptionError(
            f"--held-out is for --format {' and '.join(MEASURED)} with rounded weights, got it for"
            f" {format} {quantize}"
        )
    if bits is not None:
        _check_budget(quantize, block_size, head_bits, rounded_by)
    _check_memory_bits(bits, memory_bits)
    if format == "onnx":
        from escalade.export.onnx import storage_of

        storage_of(quantize, block_size, head_bits, activation_bits)


def _check_llamacpp(
    head_bits: int | None,
    bits: float | None,
    activation_bits: int | None,
    *,
    by_text: bool,
) -> None:
    for name, value in (
        ("--head-bits", head_bits),
        ("--bits", bits),
        ("--activation-bits", activation_bits),
        ("--gptq", by_text),
    ):
        if value:
            raise OptionError(f"{name} is not for --format gguf, which llama.cpp rounds by itself")


def _check_budget(
    quantize: Scheme,
    block_size: int | None,
    head_bits: int | None,
    rounded_by: RoundingText,
) -> None:
    if quantize != "int4":
        raise OptionError(f"--bits is for --quantize int4, got it for {quantize}")
    for name, value in (("--block-size", block_size), ("--head-bits", head_bits)):
        if value is not None:
            raise OptionError(f"{name} and --bits exclude one another: --bits chooses it")
    if rounded_by.prompts is not None and not rounded_by.prompts:
        raise OptionError("--bits measures on text, got --gptq none; give it DATA or leave it out")


def _check_memory_bits(bits: float | None, memory_bits: float | None) -> None:
    if memory_bits is None:
        return
    if bits is None:
        raise OptionError(f"--memory-bits goes with --bits, got {memory_bits:g} alone")
    if not 0 < memory_bits <= _FLOAT_BITS:
        raise OptionError(
            f"--memory-bits must be above 0 and at most {_FLOAT_BITS}, got {memory_bits:g}"
        )
