"""Rounds a matrix so that its products with given inputs stay (GPTQ); knows no graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from escalade.export.quantization.blocks import (
    Grid,
    Rounded,
    round_on,
    widen,
)
from escalade.export.quantization.fitting import fit_grid

# Share of the mean of the diagonal that is added to it (GPTQ's "dampening", section 4 there, which
# has 0.01). Of text that weights were not rounded by SmolLM2's matrices lose a fifth less so, those
# with most columns a quarter: what few thousand tokens show as alike is in part chance.
_DAMPENING = 0.1
_TINY = 1e-12
_ROWS = 2048  # rounded at a time: intermediate copies of a large head stay small
# Whose corrections are gathered before they go to as many that follow, then to twice as many (of
# GPTQ, section 3, the recursive form).
_COLUMNS = 32


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
    order, lower = _factored(firm)
    factor = lower.flip(0, 1)
    taken = factor.div_(factor.diagonal().clone())
    nearest = round_on(grid, weight, bits, block_size)
    integers = nearest.integers
    for first in range(0, len(weight), _ROWS):
        rows = slice(first, first + _ROWS)
        part = grid.of(rows)
        found = torch.empty_like(integers[rows])
        found[:, order] = _made_up_for(weight[rows], part, order, taken, bits, block_size)
        before = Rounded(integers[rows], part).weights(block_size) - weight[rows]
        after = Rounded(found, part).weights(block_size) - weight[rows]
        better = _gained(before, after, exact) > 0
        integers[rows] = torch.where(better[:, None], found, integers[rows])
    return nearest


def left_over(hessian: Tensor) -> Tensor:
    """`(K,)`, what an error of each column costs that the columns after it do not make up for.

    In the order in which GPTQ goes through them; squares of errors, in the hessian's own units.

    Raises:
        RuntimeError: the hessian is not finite (a `torch.linalg.LinAlgError`).
    """
    # The diagonal of a triangle's inverse is the inverse of its diagonal.
    order, lower = _factored(damped(hessian))
    left = torch.empty(len(order))
    left[order] = lower.diagonal().flip(0).square()
    return left * hessian.diagonal().mean()


def with_lookups(hessian: Tensor) -> Tensor:
    """Of a table whose rows are looked up too, as if by inputs alike to no other."""
    return hessian + torch.eye(len(hessian)) * hessian.diagonal().mean()


def damped(hessian: Tensor) -> Tensor:
    """The hessian that matrices are rounded by, `(K, K)`, float32: 1.1 in the diagonal's mean."""
    firm = _scaled(hessian)
    firm.diagonal().add_(_DAMPENING)
    return firm


def _scaled(hessian: Tensor) -> Tensor:
    return hessian.float() / hessian.diagonal().mean().clamp_min(_TINY)


def _factored(firm: Tensor) -> tuple[Tensor, Tensor]:
    """The order of columns, and by it the upper triangle F with F F^T the hessian, from its end.

    Turned so it is Cholesky's of the hessian turned.
    """
    order = firm.diagonal().argsort(descending=True, stable=True)
    back = order.flip(0)
    # Rows, then columns: `firm[back][:, back]` takes four to five times as long.
    turned = firm.index_select(0, back).index_select(1, back)
    return order, torch.linalg.cholesky(turned)


def _made_up_for(
    weight: Tensor, grid: Grid, order: Tensor, taken: Tensor, bits: int, block_size: int
) -> Tensor:
    """The integers of columns in `order`, `(N, K)`.

    What is lost of a row `e` is `|e F|^2`: of that each column can make its own number 0, as far as
    its integer may be any. By F no inverse of the hessian is needed; the integers are GPTQ's (Chen
    et al., arXiv 2507.18553).

    Args:
        weight: `(N, K)`.
        grid: of it.
        order: of columns.
        taken: F, each column by its diagonal: what an error of one column takes off a later one.
        bits: of an integer.
        block_size: of the grid.
    """
    rest = weight[:, order].T.contiguous()  # a column's numbers side by side
    scales, zeros = (
        one.T.expand(len(rest), -1)[order].contiguous()
        for one in widen(grid, block_size, len(rest))
    )
    errors = torch.addcmul(rest, zeros, scales).neg_()  # of integers that are 0
    columns = _Columns(rest, scales, scales.reciprocal(), zeros, errors, taken)
    columns.round(0, len(rest), -(1 << (bits - 1)))
    return rest.to(torch.int8).T


class _Columns(NamedTuple):
    """Columns in the order in which they are rounded, a row each: all `(K, N)` but the last."""

    #: Weights, and where columns were rounded their integers.
    rest: Tensor
    scales: Tensor
    #: One by the scales.
    steps: Tensor
    zeros: Tensor
    errors: Tensor
    #: `(K, K)`, see `_made_up_for`.
    taken: Tensor

    def round(self, first: int, last: int, lowest: int) -> None:
        """Round some, each in the place of its weights; the later half knows what the first lost.

        No function inside another calls itself: it would hold all of these till Python looks for
        circles, of a table of words 200 MB.
        """
        if last - first > _COLUMNS:
            middle = (first + last) // 2
            self.round(first, middle, lowest)
            across = self.taken[first:middle, middle:last].T
            self.rest[middle:last].addmm_(across, self.errors[first:middle], alpha=-1)
            self.round(middle, last, lowest)
            return
        some = slice(first, last)
        # `before[j, i]`: what an error of column i takes off column j.
        before, found = self.taken[some, some].T.contiguous(), self.errors[some]
        # A column is few numbers: what counts is how many operations are called, not what they do.
        read = (each[some].unbind() for each in (self.rest, self.steps, self.zeros, self.scales))
        columns = zip(*read, found.unbind(), strict=True)
        for at, (column, step, zero, scale, error) in enumerate(columns):
            if at:
                column.addmv_(found[:at].T, before[at, :at], alpha=-1)
            exact = torch.addcmul(zero, column, step)
            torch.round(exact, out=column).clamp_(lowest, -lowest - 1)
            error.addcmul_(column, scale)


def _gained(before: Tensor, after: Tensor, hessian: Tensor) -> Tensor:
    """Of each row, by how much `e H e^T` falls from errors `e` to others, `(N,)`."""
    return (((before - after) @ hessian) * (before + after)).sum(1)
