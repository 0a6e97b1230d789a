"""What options of the verb take; knows no model."""

from __future__ import annotations

from enum import StrEnum


class LayoutChoice(StrEnum):
    """Whose files may lie beside the program."""

    optimum = "optimum"
    genai = "genai"


class FormatChoice(StrEnum):
    """What an artifact's program may be."""

    onnx = "onnx"
    executorch = "executorch"
    gguf = "gguf"


class QuantizeChoice(StrEnum):
    """How weights may be stored."""

    none = "none"
    float16 = "float16"
    int8 = "int8"
    int4 = "int4"
    dynamic_int8 = "dynamic-int8"
    eight_da_four_w = "8da4w"
