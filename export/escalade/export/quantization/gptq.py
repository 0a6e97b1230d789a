"""Rounds a matrix to few bits, a block of a row at a time; knows no graph, no transformer.

Each block of `block_size` neighbours in a row has one scale; weight = integer * scale, with
integers from `-2^(bits-1)` on. The scale makes the block's largest magnitude, sign and all,
the lowest integer, as llama.cpp's Q4_0 does: the integers reach one further down than up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Share of the mean of the diagonal that is added to it (GPTQ's "dampening", section 4 there).
_DAMPENING = 0.01
# Shrinking a block's scale clips its extremes and serves the rest.
_SHRINKAGES = tuple(0.7 + 0.02 * step for step in range(21))
_TINY = 1e-12  # a block of zeros still needs a scale
_ROWS = 4096  # rounded at a time: intermediate copies of a large embedding stay small
_COLUMNS = 128  # whose corrections are gathered before they go to the rest (GPTQ, section 3)


class Rounded(NamedTuple):
    """A matrix in few bits."""

    #: `(N, K)`, int8.
    integers: Tensor
    #: `(N, ceil(K / block_size))`, float32.
    scales: Tensor


def round_to_nearest(weight: Tensor, bits: int, block_size: int) -> Rounded:
    """Each weight to the nearest integer of its block.

    Args:
        weight: `(N, K)`.
        bits: 4 or 8.
        block_size: neighbours that share a scale; the last block of a row may be shorter.
    """
    rounded = [_nearest(rows, bits, block_size) for rows in weight.float().split(_ROWS)]
    return Rounded(*(torch.cat(both) for both in zip(*rounded, strict=True)))


def gptq_round(weight: Tensor, hessian: Tensor, bits: int, block_size: int) -> Rounded:
    """Round so that the products with given inputs stay (GPTQ, Frantar et al., arXiv 2210.17323).

    Columns are rounded one after the other; what each loses is made up for by those that
    follow, as far as the inputs make them alike (algorithm 1 there).

    Args:
        weight: `(N, K)`.
        hessian: `(K, K)`, the sum over inputs of `x x^T` (see `gather_hessians`).
        bits: 4 or 8.
        block_size: neighbours that share a scale.
    """
    rest = weight.float().clone()
    columns = rest.shape[1]
    damped = hessian.double() + torch.eye(columns, dtype=torch.float64) * (
        _DAMPENING * hessian.diagonal().double().mean().clamp_min(_TINY)
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper = torch.linalg.cholesky(inverse, upper=True).float()
    importance = damped.diagonal().float()
    integers = torch.empty(rest.shape, dtype=torch.int8)
    scales = []
    for first in range(0, columns, _COLUMNS):
        last = min(first + _COLUMNS, columns)
        errors = torch.empty(rest.shape[0], last - first)
        for column in range(first, last):
            if column % block_size == 0:
                block = rest[:, column : column + block_size]
                scales.append(_best_scale(block, importance[column : column + block_size], bits))
            exact = rest[:, column : column + 1]
            integer = _to_integers(exact, scales[-1], bits)
            integers[:, column : column + 1] = integer
            error = (exact - integer * scales[-1]) / upper[column, column]
            errors[:, column - first] = error[:, 0]
            rest[:, column + 1 : last] -= error @ upper[column : column + 1, column + 1 : last]
        rest[:, last:] -= errors @ upper[first:last, last:]
    return Rounded(integers, torch.cat(scales, dim=1))


def pack(integers: Tensor, bits: int, block_size: int) -> NDArray[np.uint8]:
    """The bytes of `MatMulNBits`: `(N, blocks, block_size * bits / 8)`, the lower half first.

    Args:
        integers: `(N, K)`, int8.
        bits: 4 or 8.
        block_size: the last block is filled up with zeros.
    """
    zero = 1 << (bits - 1)
    filled = torch.nn.functional.pad(integers, (0, -integers.shape[1] % block_size))
    unsigned = (filled.to(torch.int16) + zero).to(torch.uint8).numpy()
    packed = unsigned if bits == 8 else unsigned[:, 0::2] | (unsigned[:, 1::2] << 4)  # noqa: PLR2004
    return packed.reshape(len(packed), -1, block_size * bits // 8)


def _nearest(rows: Tensor, bits: int, block_size: int) -> Rounded:
    columns = rows.shape[1]
    blocks = torch.nn.functional.pad(rows, (0, -columns % block_size)).view(
        len(rows), -1, block_size
    )
    scales = _scale_of(blocks, bits)
    integers = _to_integers(blocks, scales, bits).view(len(rows), -1)[:, :columns]
    return Rounded(integers, scales[:, :, 0])


def _scale_of(blocks: Tensor, bits: int) -> Tensor:
    """Of the last axis, which is kept with length 1."""
    furthest = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True))
    scale = furthest / -(1 << (bits - 1))
    return torch.where(scale.abs() < _TINY, torch.full_like(scale, _TINY), scale)


def _best_scale(block: Tensor, importance: Tensor, bits: int) -> Tensor:
    """The shrunk or grown scale of each row that loses least, weighted; `(N, 1)`."""
    scale = _scale_of(block, bits)
    best, least = scale, torch.full_like(scale, torch.inf)
    for shrinkage in _SHRINKAGES:
        tried = scale * shrinkage
        lost = (_to_integers(block, tried, bits) * tried - block).square() @ importance[:, None]
        best = torch.where(lost < least, tried, best)
        least = torch.minimum(lost, least)
    return best


def _to_integers(values: Tensor, scale: Tensor, bits: int) -> Tensor:
    lowest = -(1 << (bits - 1))
    return (values / scale).round_().clamp_(lowest, -lowest - 1).to(torch.int8)
