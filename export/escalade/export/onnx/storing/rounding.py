"""Rounds a matrix by what is known of it, once; knows no graph, no scheme."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from escalade.export.blueprints import Linear
from escalade.export.errors import OptionError
from escalade.export.kept import Kept
from escalade.export.quantization import (
    Choice,
    Rounded,
    damped,
    gptq_round,
    join,
    levels_for,
    refine,
    round_to_nearest,
    rounded_from,
    tensors,
    with_lookups,
)
from escalade.export.threads import threads_apart

# So many lose next to nothing, with nothing to refine.
_MANY_BITS = 8
# Rows of a large matrix that one thread rounds at a time, and at least so many for each column: for
# each such part the hessian is factored anew, which is then a thirtieth of the work.
_ROWS, _ROWS_EACH = 2048, 2


def round_matrix(
    kept: Kept,
    step: str,
    name: str,
    matrix: Linear,
    choice: Choice,
    *,
    looked_up: bool = False,
    few_scales: bool = False,
) -> Rounded:
    """Round so that products stay where it is known what is read; else each to its nearest.

    Args:
        kept: where it stays, or is from an export before this one.
        step: what it is kept as, which is no other's of the model.
        name: of the matrix.
        matrix: what it is.
        choice: how it is stored.
        looked_up: whether rows of it are read too, each by itself.
        few_scales: whether its scales are of few numbers, at most 256.

    Raises:
        OptionError: what it is fed gives no hessian to round by.
    """
    by_text = matrix.hessian is not None
    levels = None
    if few_scales:
        levels = levels_for(matrix.weight, *choice, zeros=by_text and choice.zeros)
    if not by_text:
        return round_to_nearest(matrix.weight, *choice, levels=levels)
    made = kept.once(step, lambda: tensors(_by_text(name, matrix, choice, looked_up, levels)))
    return rounded_from(made)


def _by_text(
    name: str, matrix: Linear, choice: Choice, looked_up: bool, levels: Tensor | None
) -> Rounded:
    one = partial(_one_by_text, name, choice=choice, looked_up=looked_up, levels=levels)
    rows, columns = matrix.weight.shape
    count = max(_ROWS, _ROWS_EACH * columns)
    apart = [matrix.rows(slice(first, first + count)) for first in range(0, rows, count)]
    with threads_apart() as pool:
        return join(list(pool.map(one, matrix.parts or apart)))


def _one_by_text(
    name: str, matrix: Linear, choice: Choice, looked_up: bool, levels: Tensor | None
) -> Rounded:
    bits, size = choice
    assert matrix.hessian is not None  # noqa: S101 - the caller has looked, and all parts have one
    hessian = matrix.hessian.whole()
    if looked_up:
        hessian = with_lookups(hessian)
    try:
        rounded = gptq_round(matrix.weight, hessian, bits, size, zeros=choice.zeros, levels=levels)
    except RuntimeError as error:  # torch.linalg.LinAlgError is one
        raise OptionError(
            f"--gptq: {name}: what it is fed on these prompts gives no hessian to round by;"
            " use --gptq none"
        ) from error
    if bits == _MANY_BITS:
        return rounded
    return refine(matrix.weight, damped(hessian), rounded, bits, size, levels=levels)
