"""Rounds a matrix so that its products with given inputs stay (GPTQ); knows no graph."""

from __future__ import annotations

import torch
from torch import Tensor

from escalade.export.quantization.blocks import (
    Grid,
    Rounded,
    fit_grid,
    round_on,
    widen,
)

# Share of the mean of the diagonal that is added to it (GPTQ's "dampening", section 4 there, which
# has 0.01). Of text that weights were not rounded by SmolLM2's matrices lose a fifth less so, those
# with most columns a quarter: what few thousand tokens show as alike is in part chance.
_DAMPENING = 0.1
_TINY = 1e-12
_ROWS = 2048  # rounded at a time: intermediate copies of a large head stay small
_COLUMNS = 128  # whose corrections are gathered before they go to the rest (GPTQ, section 3)


def gptq_round(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    block_size: int,
    *,
    zeros: bool = False,
    levels: Tensor | None = None,
) -> Rounded:
    """Round so that the products with given inputs stay (GPTQ, Frantar et al., arXiv 2210.17323).

    Columns are rounded one after the other; what each loses is made up for by those that
    follow, as far as the inputs make them alike (algorithm 1 there). Those with the largest
    inputs come first, while most others are left to make up for them (`act_order` of its
    authors' code); each block's scale is fixed before, so that the order leaves no trace in the
    file. No row loses more than it would rounded to nearest with the same scales: where it
    would, it is.

    Args:
        weight: `(N, K)`.
        hessian: `(K, K)`, the sum over inputs of `x x^T` (see `gather_hessians`).
        bits: 2 to 6, or 8.
        block_size: neighbours that share a scale.
        zeros: whether blocks have zero points.
        levels: what scales may be (see `levels_for`); any float16 if None.

    Raises:
        RuntimeError: the hessian is not finite (a `torch.linalg.LinAlgError`).
    """
    weight = weight.float()
    exact, firm = _scaled(hessian), damped(hessian)
    grid = fit_grid(weight, firm.diagonal(), bits, block_size, zeros=zeros, levels=levels)
    order, upper = _factored(firm)
    nearest = round_on(grid, weight, bits, block_size)
    integers = nearest.integers
    for first in range(0, len(weight), _ROWS):
        rows = slice(first, first + _ROWS)
        part = grid.of(rows)
        found = torch.empty_like(integers[rows])
        found[:, order] = _made_up_for(weight[rows], part, order, upper, bits, block_size)
        before = Rounded(integers[rows], part).weights(block_size) - weight[rows]
        after = Rounded(found, part).weights(block_size) - weight[rows]
        better = _gained(before, after, exact.float()) > 0
        integers[rows] = torch.where(better[:, None], found, integers[rows])
    return nearest


def left_over(hessian: Tensor) -> Tensor:
    """`(K,)`, what an error of each column costs that the columns after it do not make up for.

    In the order in which GPTQ goes through them; squares of errors, in the hessian's own units.

    Raises:
        RuntimeError: the hessian is not finite (a `torch.linalg.LinAlgError`).
    """
    order, upper = _factored(damped(hessian))
    left = torch.empty(len(order))
    left[order] = upper.diagonal().square().reciprocal()
    return left * hessian.diagonal().mean()


def with_lookups(hessian: Tensor) -> Tensor:
    """Of a table whose rows are looked up too, as if by inputs alike to no other."""
    return hessian + torch.eye(len(hessian)) * hessian.diagonal().mean()


def damped(hessian: Tensor) -> Tensor:
    """The hessian that matrices are rounded by, `(K, K)`, float64: 1.1 in the diagonal's mean."""
    exact = _scaled(hessian)
    return exact + _DAMPENING * torch.eye(len(exact), dtype=torch.float64)


def _factored(firm: Tensor) -> tuple[Tensor, Tensor]:
    """The order of columns, and by it the upper factor of the inverse, float32."""
    order = firm.diagonal().argsort(descending=True, stable=True)
    return order, _inverse_factor(firm[order][:, order])


def _scaled(hessian: Tensor) -> Tensor:
    exact = hessian.double()
    return exact / exact.diagonal().mean().clamp_min(_TINY)


def _inverse_factor(hessian: Tensor) -> Tensor:
    """The upper triangle U, float32, with U^T U the inverse of a hessian.

    Cholesky's of the hessian from its end, inverted: a third of what inverting it first takes.
    """
    factor = torch.linalg.cholesky(hessian.flip(0, 1)).flip(0, 1).float()
    inverse: Tensor = torch.linalg.solve_triangular(factor, torch.eye(len(factor)), upper=True)
    return inverse.contiguous()


def _made_up_for(
    weight: Tensor, grid: Grid, order: Tensor, upper: Tensor, bits: int, block_size: int
) -> Tensor:
    """The integers of columns in `order`, `(N, K)`."""
    rest = weight[:, order].T.contiguous()  # a column's numbers side by side
    scales, zeros = (
        one.T.expand(len(rest), -1)[order].contiguous()
        for one in widen(grid, block_size, len(rest))
    )
    lowest = -(1 << (bits - 1))
    integers = torch.empty(rest.shape, dtype=torch.int8)
    for first in range(0, len(rest), _COLUMNS):
        some = slice(first, min(first + _COLUMNS, len(rest)))
        left, within = rest[some], upper[some, some]
        codes, errors = torch.empty_like(left), torch.empty_like(left)
        # A column is few numbers: what counts is how many operations are called, not what they do.
        columns = zip(
            left.unbind(),
            scales[some].unbind(),
            zeros[some].unbind(),
            codes.unbind(),
            errors.unbind(),
            within.diagonal().tolist(),
            strict=True,
        )
        for column, (exact, scale, zero, code, error, pivot) in enumerate(columns):
            torch.div(exact, scale, out=code)
            code.add_(zero).round_().clamp_(lowest, -lowest - 1)
            torch.addcmul(exact, code - zero, scale, value=-1, out=error).div_(pivot)
            after = slice(column + 1, None)
            left[after].addr_(within[column, after], error, alpha=-1)
        integers[some] = codes.to(torch.int8)
        rest[some.stop :].addmm_(upper[some, some.stop :].T, errors, alpha=-1)
    return integers.T


def _gained(before: Tensor, after: Tensor, hessian: Tensor) -> Tensor:
    """Of each row, by how much `e H e^T` falls from errors `e` to others, `(N,)`."""
    return (((before - after) @ hessian) * (before + after)).sum(1)
