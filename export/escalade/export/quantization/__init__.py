"""Rounding of weights: GPTQ and what it needs; knows no graph."""

from escalade.export.quantization.blocks import (
    Grid,
    Rounded,
    join,
    levels_for,
    near_halves,
    round_to_nearest,
    rounded_from,
    tensors,
    widen,
)
from escalade.export.quantization.choice import BLOCKS, WIDTHS, Choice, losses_of
from escalade.export.quantization.curvature import CURVATURE, gather_curvatures
from escalade.export.quantization.gptq import damped, gptq_round, left_over, with_lookups
from escalade.export.quantization.hessian import (
    Hessian,
    gather_hessians,
    has_hessians,
    hessian_of,
)
from escalade.export.quantization.levels import nearest_level
from escalade.export.quantization.own_text import (
    Answered,
    answer_prompts,
    asked_by,
    write_answers,
    write_text,
)
from escalade.export.quantization.packing import pack, pack_zeros
from escalade.export.quantization.refine import refine
from escalade.export.quantization.spending import HeldError, Offer, spend

__all__ = [
    "BLOCKS",
    "CURVATURE",
    "WIDTHS",
    "Answered",
    "Choice",
    "Grid",
    "HeldError",
    "Hessian",
    "Offer",
    "Rounded",
    "answer_prompts",
    "asked_by",
    "damped",
    "gather_curvatures",
    "gather_hessians",
    "gptq_round",
    "has_hessians",
    "hessian_of",
    "join",
    "left_over",
    "levels_for",
    "losses_of",
    "near_halves",
    "nearest_level",
    "pack",
    "pack_zeros",
    "refine",
    "round_to_nearest",
    "rounded_from",
    "spend",
    "tensors",
    "widen",
    "with_lookups",
    "write_answers",
    "write_text",
]
