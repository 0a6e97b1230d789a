"""Rounds a matrix to few bits, a block of a row at a time; knows no inputs, graph or transformer.

Each block of `block_size` neighbours in a row has one scale, and where it helps a zero point;
weight = (integer - zero) * scale, with integers from `-2^(bits-1)` on. Without a zero point the
scale makes the block's largest magnitude, sign and all, the lowest integer, as llama.cpp's Q4_0
does: the integers reach one further down than up. Scales are ones that a float16 can be, where
that costs next to nothing: half the bytes on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from escalade.export.quantization.levels import levels_of, nearest_level

TINY = 1e-12  #: a block of zeros still needs a scale
_FLOAT16_TINY, _FLOAT16_MOST = 2.0**-24, 65504.0
# A scale that is off by more than this moves the last integers of 8 bits by a quarter of a step.
_HALVED_OFF = 2.0**-9
# Rounded at a time, a megabyte of float32: what is tried stays in a core's cache. With 4,096 rows
# of 576 a grid took five times as long.
_NUMBERS = 1 << 18


class Grid(NamedTuple):
    """What the integers of each block stand for."""

    #: `(N, ceil(K / block_size))`, float32; never 0.
    scales: Tensor
    #: `(N, ceil(K / block_size))`, int8: the integer that stands for 0; None where all are 0.
    zeros: Tensor | None = None

    def of(self, rows: slice) -> Grid:
        """The part of some rows."""
        return Grid(self.scales[rows], None if self.zeros is None else self.zeros[rows])


class Rounded(NamedTuple):
    """A matrix in few bits."""

    #: `(N, K)`, int8.
    integers: Tensor
    grid: Grid

    def weights(self, block_size: int) -> Tensor:
        """What it stands for, `(N, K)`, float32."""
        scales, zeros = widen(self.grid, block_size, self.integers.shape[1])
        return (self.integers - zeros) * scales


def join(parts: Sequence[Rounded]) -> Rounded:
    """Matrices of the same inputs as one, row after row; all have zero points, or none has."""
    scales = torch.cat([part.grid.scales for part in parts])
    zeros = [part.grid.zeros for part in parts if part.grid.zeros is not None]
    integers = torch.cat([part.integers for part in parts])
    return Rounded(integers, Grid(scales, torch.cat(zeros) if zeros else None))


def tensors(rounded: Rounded) -> dict[str, Tensor]:
    """A matrix in few bits as tensors by name, for a file; `rounded_from` takes them back."""
    named = {"integers": rounded.integers, "scales": rounded.grid.scales}
    return named if rounded.grid.zeros is None else {**named, "zeros": rounded.grid.zeros}


def rounded_from(tensors: Mapping[str, Tensor]) -> Rounded:
    """What `tensors` named."""
    return Rounded(tensors["integers"], Grid(tensors["scales"], tensors.get("zeros")))


def round_to_nearest(
    weight: Tensor, bits: int, block_size: int, *, levels: Tensor | None = None
) -> Rounded:
    """Each weight to the nearest integer of its block, whose scale is that of its furthest.

    Args:
        weight: `(N, K)`.
        bits: 2 to 6, or 8.
        block_size: neighbours that share a scale; the last block of a row may be shorter.
        levels: what scales may be; any float16 if None.
    """
    scales = stored_as(furthest_scales(weight, bits, block_size), levels)
    return round_on(Grid(scales), weight.float(), bits, block_size)


def levels_for(weight: Tensor, bits: int, block_size: int, *, zeros: bool) -> Tensor:
    """Few numbers, for a byte each, that the scales of a matrix may be.

    Args:
        weight: `(N, K)`.
        bits: 2 to 6, or 8.
        block_size: neighbours that share a scale.
        zeros: whether blocks may have zero points; scales are then positive.
    """
    return levels_of(furthest_scales(weight, bits, block_size), signed=not zeros)


def round_on(grid: Grid, weight: Tensor, bits: int, block_size: int) -> Rounded:
    """Each weight to the nearest integer of a grid that is given."""
    integers = []
    count = _rows_of(weight)
    for first in range(0, len(weight), count):
        rows = slice(first, first + count)
        scales, zeros = widen(grid.of(rows), block_size, weight.shape[1])
        integers.append(to_integers(weight[rows].float(), scales, zeros, bits))
    return Rounded(torch.cat(integers), grid)


def stored_as(scales: Tensor, levels: Tensor | None) -> Tensor:
    """The next that may be stored: a level, where these are given, or else a float16."""
    return halved(scales) if levels is None else nearest_level(scales, levels)


def halved(scales: Tensor) -> Tensor:
    """The float16 next to each, in float32; all as they are where one would be far off."""
    near = near_halves(scales)
    some = scales.abs() > TINY  # no weight hangs on the others
    far = (near - scales).abs() > _HALVED_OFF * scales.abs()
    return scales if bool((some & far).any()) else near


def near_halves(scales: Tensor) -> Tensor:
    """The float16 next to each, in float32; none is 0."""
    near = scales.clamp(-_FLOAT16_MOST, _FLOAT16_MOST).half().float()
    return torch.where(near == 0, _FLOAT16_TINY, near)


def widen(grid: Grid, block_size: int, columns: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of each weight, `(N, columns)`, float32."""
    scales = grid.scales.repeat_interleave(block_size, dim=1)[:, :columns]
    if grid.zeros is None:
        return scales, torch.zeros(1, 1)
    return scales, grid.zeros.float().repeat_interleave(block_size, dim=1)[:, :columns]


def to_integers(values: Tensor, scales: Tensor, zeros: Tensor, bits: int) -> Tensor:
    """The nearest of each, int8; all three of one shape, or of shapes that spread to one."""
    return _codes(values, scales, zeros, bits).to(torch.int8)


def _rows_of(weight: Tensor) -> int:
    """How many rows of a matrix are rounded at a time."""
    return max(1, _NUMBERS // weight.shape[1])


def _blocks(rows: Tensor, block_size: int) -> Tensor:
    return pad(rows, (0, -rows.shape[1] % block_size)).view(len(rows), -1, block_size)


def furthest_scales(weight: Tensor, bits: int, block_size: int) -> Tensor:
    """Of each block the scale that makes its furthest weight the lowest integer."""
    scales = [
        _scale_of(_blocks(rows, block_size), bits)[:, :, 0]
        for rows in weight.float().split(_rows_of(weight))
    ]
    return torch.cat(scales)


def _scale_of(blocks: Tensor, bits: int) -> Tensor:
    """Of the last axis, which is kept with length 1."""
    furthest = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True))
    return not_zero(furthest / -(1 << (bits - 1)))


def _codes(values: Tensor, scales: Tensor, zeros: Tensor, bits: int) -> Tensor:
    lowest = -(1 << (bits - 1))
    return (values / scales + zeros).round_().clamp_(lowest, -lowest - 1)


def not_zero(scale: Tensor) -> Tensor:
    """A scale that may be divided by."""
    return torch.where(scale.abs() < TINY, torch.full_like(scale, TINY), scale)
