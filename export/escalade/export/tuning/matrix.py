"""Has what a rounded matrix is stored as move by gradient; knows no model, no graph.

Scales move with the integers as they are (EfficientQAT's second phase, Chen et al., arXiv
2407.11062), integers through the step of rounding as if it were none (LSQ, Esser et al., ICLR 2020,
arXiv 1902.08153). What is stored stays of the same kind: zero points stay, scales are ones that may
be stored, at every step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from escalade.export.quantization import Grid, Rounded, near_halves, nearest_level, widen

_INT8_MOST = 127
_TINY = 1e-12


class Tuned:
    """A rounded matrix of which scales and integers may move."""

    def __init__(self, rounded: Rounded, bits: int, block_size: int, *, few_scales: bool) -> None:
        """Begin with it.

        Args:
            rounded: a matrix.
            bits: its integers'.
            block_size: neighbours that share a scale.
            few_scales: whether scales stay of the numbers that they are of now.
        """
        self.block_size = block_size
        self._lowest, self._most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self._begun = rounded
        scales = rounded.grid.scales
        self._levels = scales.unique() if few_scales else None
        self._halves = bool(torch.equal(scales, near_halves(scales)))
        _, zeros = widen(rounded.grid, block_size, rounded.integers.shape[1])
        self._zeros = zeros
        #: `(N, blocks)`, by which scales are larger than they were.
        self.shares = torch.ones_like(scales).requires_grad_(True)
        #: `(N, K)`, what integers are the nearest of.
        self.places = rounded.integers.float().requires_grad_(True)

    def weights(self) -> Tensor:
        """What it stands for, `(N, K)`, float32; gradients pass the steps of rounding."""
        scales = _passing(self._begun.grid.scales * self.shares, self._stored)
        integers = _passing(self.places.clamp(self._lowest, self._most), torch.round)
        wide = scales.repeat_interleave(self.block_size, 1)[:, : integers.shape[1]]
        return (integers - self._zeros) * wide

    @property
    def rounded(self) -> Rounded:
        """Where it is."""
        with torch.no_grad():
            scales = self._stored(self._begun.grid.scales * self.shares)
            integers = self.places.clamp(self._lowest, self._most).round().to(torch.int8)
        return Rounded(integers, Grid(scales, self._begun.grid.zeros))

    def _stored(self, scales: Tensor) -> Tensor:
        if self._levels is not None:
            return nearest_level(scales, self._levels)
        return near_halves(scales) if self._halves else scales


def rounded_inputs(values: Tensor, block_size: int) -> Tensor:
    """To 8 bits by blocks of the last axis, as kernels do; gradients pass."""
    return _passing(values, lambda exact: _in_8_bits(exact, block_size))


def _in_8_bits(values: Tensor, block_size: int) -> Tensor:
    columns = values.shape[-1]
    blocks = functional.pad(values, (0, -columns % block_size)).unflatten(-1, (-1, block_size))
    low, high = blocks.aminmax(dim=-1, keepdim=True)
    steps = torch.maximum(high, -low).clamp_min_(_TINY).div_(_INT8_MOST)
    rounded: Tensor = (blocks / steps).round_().mul_(steps).flatten(-2)[..., :columns]
    return rounded


def _passing(values: Tensor, round_: Callable[[Tensor], Tensor]) -> Tensor:
    """What a step of rounding makes of values; its gradient is theirs, as if it were none."""
    found: Tensor = _Passing.apply(values, round_)
    return found


class _Passing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, round_: Callable[[Tensor], Tensor]) -> Tensor:
        return round_(values)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
