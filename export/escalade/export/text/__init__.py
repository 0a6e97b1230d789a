"""The text that weights are rounded by: found, read, written; knows no rounding, no graph."""

from escalade.export.text.calibration import calibrate
from escalade.export.text.prompts import enough_prompts, prompts_to_answer
from escalade.export.text.rounding_text import (
    AS_KEPT,
    BY_GPTQ,
    NEAREST,
    OWN_TEXT,
    RoundingText,
    by_trained,
    read_rounding_text,
    read_trained_text,
    text_again,
)

__all__ = [
    "AS_KEPT",
    "BY_GPTQ",
    "NEAREST",
    "OWN_TEXT",
    "RoundingText",
    "by_trained",
    "calibrate",
    "enough_prompts",
    "prompts_to_answer",
    "read_rounding_text",
    "read_trained_text",
    "text_again",
]
