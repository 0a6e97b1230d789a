"""Fits scales and zero points to the blocks of a matrix; stores nothing, knows no graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from escalade.export.quantization.blocks import TINY, Grid, furthest_scales, not_zero, stored_as
from escalade.export.quantization.levels import Ladder

# Shrinking a block's scale clips its extremes and serves the rest.
_SHRINKAGES = tuple(0.6 + 0.025 * step for step in range(21))
# Tried at a time, 512 kB of float32: what is tried stays in a core's own cache.
_NUMBERS = 1 << 17


def fit_grid(
    weight: Tensor,
    importance: Tensor,
    bits: int,
    block_size: int,
    *,
    zeros: bool,
    levels: Tensor | None = None,
) -> Grid:
    """The scales, and zero points, that lose least: the sum of importance * (weight - rounded)^2.

    Tried are shares of the scale that spans the block; of the best, the scale that fits its own
    integers best by least squares is taken too.

    Args:
        weight: `(N, K)`.
        importance: `(K,)`, not negative: the mean square of each input.
        bits: 2 to 6, or 8.
        block_size: neighbours that share a scale.
        zeros: whether a block may have a zero point.
        levels: what scales may be (see `levels_for`); any float16 if None.
    """
    furthest = furthest_scales(weight, bits, block_size)
    weighing, count = _placed(importance.float()[None], block_size), len(furthest)
    at_once = min(count, max(1, _NUMBERS // weight.shape[1]))
    weighing = weighing.repeat(1, at_once)
    scales, points = torch.empty_like(furthest), torch.empty_like(furthest)
    for first in range(0, count, at_once):
        rows = slice(first, first + at_once)
        blocks, span = _placed(weight[rows].float(), block_size), furthest[rows].flatten()
        part = _Fit(blocks, weighing[:, : blocks.shape[1]], bits, levels)
        scale, point = part.of(span, zeros=zeros)
        scales[rows], points[rows] = scale.view_as(scales[rows]), point.view_as(scales[rows])
    return Grid(stored_as(scales, levels), points.to(torch.int8) if zeros else None)


def _placed(rows: Tensor, block_size: int) -> Tensor:
    """`(block_size, blocks of all rows)`: the first weights of all blocks, then the second.

    What is done with a block's scale is then done with rows of numbers that lie side by side; the
    other way round a block of 16 is too short to be quick.
    """
    return pad(rows, (0, -rows.shape[1] % block_size)).view(-1, block_size).T.contiguous()


class _Fit:
    """Of blocks `(block_size, B)`."""

    def __init__(self, blocks: Tensor, weighing: Tensor, bits: int, levels: Tensor | None) -> None:
        self._blocks, self._weighing = blocks, weighing
        self._ladder = None if levels is None else Ladder.of(levels)
        self._lowest = -(1 << (bits - 1))

    def of(self, whole: Tensor, *, zeros: bool) -> tuple[Tensor, Tensor]:
        """Scales and zero points, each `(B,)`; `whole` are the scales of the furthest weights."""
        none = torch.zeros_like(whole)
        if not zeros:
            return self._best_share(whole, none)[0], none
        if self._ladder is not None:  # which are positive: the same numbers the other way round
            whole, none = whole.abs(), torch.where(whole < 0, -1.0, 0.0)
        scales, least = self._best_share(whole, none)
        low, high = self._blocks.amin(0).clamp_max(0), self._blocks.amax(0).clamp_min(0)
        spanning = not_zero((high - low) / (-2 * self._lowest - 1))
        points = (self._lowest - low / spanning).round()
        points.clamp_(self._lowest, -self._lowest - 1)
        others, lost = self._best_share(spanning, points)
        better = lost < least
        return torch.where(better, others, scales), torch.where(better, points, none)

    def _best_share(self, span: Tensor, zeros: Tensor) -> tuple[Tensor, Tensor]:
        """Of the spans' shares the scales that lose least, and what they lose."""
        tried = self._stored(torch.tensor(_SHRINKAGES)[:, None] * span)
        least, at = self._lost(tried, zeros).min(0, keepdim=True)
        scales = tried.gather(0, at)
        steps = self._rounded(self._exact(scales, zeros)[0]).sub_(zeros)
        weighed = steps * self._weighing
        along = steps.mul_(weighed).sum(0)
        fitted = weighed.mul_(self._blocks).sum(0) / along.clamp_min(TINY)
        fitted = self._stored(torch.where(along > 0, not_zero(fitted), scales))
        lost = self._lost(fitted, zeros)
        return torch.where(lost < least, fitted, scales)[0], torch.minimum(lost, least)[0]

    def _lost(self, scales: Tensor, zeros: Tensor) -> Tensor:
        """By blocks with each of some scales, `(S, B)`."""
        lost = torch.empty_like(scales)
        # Few calls are what counts here, of a matrix with few blocks.
        at_once = max(1, _NUMBERS // self._blocks.numel())
        for some, sums in zip(scales.split(at_once), lost.split(at_once), strict=True):
            exact = self._exact(some, zeros)
            off = self._rounded(exact).sub_(exact)
            torch.sum(off.mul_(off).mul_(self._weighing), 1, out=sums)
        return lost.mul_(scales).mul_(scales)

    def _stored(self, scales: Tensor) -> Tensor:
        return scales if self._ladder is None else self._ladder.near(scales)

    def _exact(self, scales: Tensor, zeros: Tensor) -> Tensor:
        """Weights in steps of each of some scales, `(S, block_size, B)`."""
        return torch.addcmul(zeros, self._blocks, scales.reciprocal()[:, None])

    def _rounded(self, exact: Tensor) -> Tensor:
        return exact.round().clamp_(self._lowest, -self._lowest - 1)
