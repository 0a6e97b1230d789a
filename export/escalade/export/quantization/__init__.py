"""Rounding of weights: GPTQ and what it needs, torchao's schemes; knows no graph."""

from escalade.export.quantization.gptq import gptq_round, pack, round_to_nearest
from escalade.export.quantization.hessian import HESSIAN, gather_hessians, has_hessians
from escalade.export.quantization.torchao import (
    GROUP_SIZE,
    EmbeddingBits,
    plain_linears,
    quantize_8da4w,
)

__all__ = [
    "GROUP_SIZE",
    "HESSIAN",
    "EmbeddingBits",
    "gather_hessians",
    "gptq_round",
    "has_hessians",
    "pack",
    "plain_linears",
    "quantize_8da4w",
    "round_to_nearest",
]
