"""How a program is to be written, as its user asked for it; loads no model, knows no graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from escalade.edge.artifact import Format, Scheme
from escalade.edge.base import listed
from escalade.export.errors import OptionError
from escalade.export.text import RoundingText

Layout = Literal["optimum", "genai"]

#: How weights may be stored, for each runtime.
SCHEMES: dict[Format, tuple[Scheme, ...]] = {
    "onnx": ("none", "float16", "int8", "int4", "dynamic-int8"),
    "executorch": ("none", "8da4w"),
    "gguf": ("none", "float16", "int8", "int4"),
}
#: Of programs: what they lost is measured.
MEASURED: tuple[Format, ...] = ("onnx", "gguf")
#: Schemes whose weights are stored in blocks with one scale each, and the usual size of a block. In
#: 8 bits larger ones cost no answers, in 4 they do (`benchmarks/quantization.py`).
_BLOCK_SIZE: dict[Scheme, int] = {"int4": 32, "int8": 64}
_BLOCK_SIZES = (16, 32, 64, 128, 256)
_ACTIVATION_BITS = 8
# Of a weight that is not rounded.
_FLOAT_BITS = 32
_NOT_FOR_GGUF = "is not for --format gguf, which llama.cpp rounds by itself"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a program hangs on, beside the model and the text that it is rounded by.

    The fields are arguments of `export_artifact`, which says what they mean.

    Raises:
        OptionError: one is out of range, or they do not go together.
    """

    format: Format = "onnx"
    quantize: Scheme = "none"
    block_size: int | None = None
    head_bits: int | None = None
    bits: float | None = None
    memory_bits: float | None = None
    activation_bits: int | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        self._check_format()
        self._check_scheme()
        self._check_budget()

    @property
    def block_size_or_usual(self) -> int | None:
        """Input values that share a scale; None where weights have no blocks of the same size."""
        return self.block_size or _BLOCK_SIZE.get(self.quantize)

    @property
    def head_bits_or_usual(self) -> Literal[4, 8]:
        """Of embedding and head, where they are rounded."""
        # To 4 bits costs more answers than all the rest (`benchmarks/quantization.py`).
        return 4 if self.head_bits == 4 else 8  # noqa: PLR2004

    @property
    def activation_bits_or_usual(self) -> int:
        """Of what weights in blocks are multiplied with."""
        return self.activation_bits or _ACTIVATION_BITS

    def check_text(self, rounded_by: RoundingText, *, held_out: bool) -> None:
        """Refuse text that the way weights are stored does not take.

        Args:
            rounded_by: text that weights are rounded by.
            held_out: whether prompts are given to measure by what was lost.

        Raises:
            OptionError: it is not for them.
        """
        scheme, prompts = self.quantize, rounded_by.prompts
        if self.format == "gguf" and (rounded_by.own or prompts):
            raise OptionError(f"--gptq {_NOT_FOR_GGUF}")
        if rounded_by.own and scheme != "int4":
            raise OptionError(f"--gptq own is for --quantize int4, got it for {scheme}")
        if prompts and scheme not in _BLOCK_SIZE:
            raise OptionError(f"--gptq is for --quantize int4 and int8, got it for {scheme}")
        if held_out and (self.format not in MEASURED or scheme == "none"):
            raise OptionError(
                f"--held-out is for --format {' and '.join(MEASURED)} with rounded weights, got it"
                f" for {self.format} {scheme}"
            )
        if self.bits is not None and prompts is not None and not prompts:
            raise OptionError(
                "--bits measures on text, got --gptq none; give it DATA or leave it out"
            )

    def check_encoder_decoder(self, rounded_by: RoundingText, *, held_out: bool) -> None:
        """Refuse what only decoders take; the arguments are `check_text`'s.

        Raises:
            OptionError: it was asked for.
        """
        for option, given in (
            ("--bits", self.bits is not None),
            ("--gptq own", rounded_by.own),
            ("--held-out", held_out),
        ):
            if given:
                raise OptionError(f"{option} is for decoders, got an encoder-decoder")

    def _check_format(self) -> None:
        format, for_onnx = self.format, "is for --format onnx, got"
        if format == "executorch" and self.bits is not None:
            raise OptionError(f"--bits {for_onnx} {self.bits:g} for {format}")
        if self.quantize not in SCHEMES[format]:
            raise OptionError(
                f"--quantize for --format {format} must be one of {listed(SCHEMES[format])},"
                f" got {self.quantize}"
            )
        if format == "onnx":
            return
        if self.layout is not None:
            raise OptionError(f"--layout {for_onnx} {self.layout} for {format}")
        if self.block_size is not None:
            raise OptionError(f"--block-size {for_onnx} {self.block_size} for {format}")
        if format == "gguf":
            for name, value in (
                ("--head-bits", self.head_bits),
                ("--bits", self.bits),
                ("--activation-bits", self.activation_bits),
            ):
                if value is not None:
                    raise OptionError(f"{name} {_NOT_FOR_GGUF}")

    def _check_scheme(self) -> None:
        scheme, blocks = self.quantize, self.format == "onnx" and self.quantize in _BLOCK_SIZE
        if self.block_size is not None:
            if not blocks:
                raise OptionError(f"--block-size is for int4 and int8, got it for {scheme}")
            if self.block_size not in _BLOCK_SIZES:
                raise OptionError(
                    f"--block-size must be one of {listed(_BLOCK_SIZES)}, got {self.block_size}"
                )
        if self.head_bits is not None:
            if scheme not in {"int4", "8da4w"}:
                raise OptionError(
                    f"--head-bits is for --quantize int4 and 8da4w, got it for {scheme}"
                )
            if self.head_bits not in {4, 8}:
                raise OptionError(f"--head-bits must be 4 or 8, got {self.head_bits}")
        if self.activation_bits is not None:
            if not blocks:
                raise OptionError(
                    "--activation-bits is for --format onnx --quantize int4 and int8, got it for"
                    f" {self.format} {scheme}"
                )
            if self.activation_bits not in {8, 32}:
                raise OptionError(f"--activation-bits must be 8 or 32, got {self.activation_bits}")

    def _check_budget(self) -> None:
        if self.bits is not None:
            if self.quantize != "int4":
                raise OptionError(f"--bits is for --quantize int4, got it for {self.quantize}")
            for name, value in (
                ("--block-size", self.block_size),
                ("--head-bits", self.head_bits),
            ):
                if value is not None:
                    raise OptionError(f"{name} and --bits exclude one another: --bits chooses it")
        if self.memory_bits is not None:
            if self.bits is None:
                raise OptionError(f"--memory-bits goes with --bits, got {self.memory_bits:g} alone")
            if not 0 < self.memory_bits <= _FLOAT_BITS:
                raise OptionError(
                    f"--memory-bits must be above 0 and at most {_FLOAT_BITS}, got"
                    f" {self.memory_bits:g}"
                )
