"""What choices for a matrix cost in KL, as it will be rounded; knows no graph, no budget."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from escalade.export.blueprints import Linear
from escalade.export.errors import OptionError
from escalade.export.quantization import Choice, left_over, losses_of, with_lookups

# Of how much words count, what all have alike: users have words that the model's text has not.
_ALIKE = 0.25


def prices_of(
    name: str, linear: Linear, choices: Sequence[Choice], *, rounds_inputs: bool
) -> Tensor:
    """Of a matrix that is multiplied, `(choices,)`, float64; 0 where nobody reads the products.

    Args:
        name: of the matrix.
        linear: what it is.
        choices: to price.
        rounds_inputs: whether what it is multiplied with is rounded to 8 bits.

    Raises:
        OptionError: what it was fed is not finite.
    """
    lost = torch.zeros(len(choices), dtype=torch.float64)
    for part in linear.parts or (linear,):
        if part.hessian is not None and part.curvature is not None:
            hessian = part.hessian.whole()
            _check(name, hessian, part.curvature)
            left, importance = left_over(hessian), hessian.diagonal()
            found = losses_of(
                part.weight,
                importance,
                left,
                part.curvature,
                choices,
                rounded=importance if rounds_inputs else None,
            )
            lost += torch.tensor(found, dtype=torch.float64)
    return lost


def prices_of_table(
    name: str,
    table: Linear,
    slices: Sequence[slice],
    choices: Sequence[Choice],
    *,
    looked_up: Tensor | None,
    said: Tensor | None,
    rounds_inputs: bool,
) -> Tensor:
    """Of slices of the rows of a table of words, `(slices, choices)`, float64.

    Args:
        name: of the table.
        table: `(V, H)`, with hessian and curvature where it is a head.
        slices: of its rows.
        choices: to price.
        looked_up: `(H,)`, what an error of a row that is looked up costs, squared; None of a table
            that is a head alone.
        said: `(V,)`, how much answers hang on each word; None where nothing is known.
        rounds_inputs: whether what a head is multiplied with is rounded to 8 bits.

    Raises:
        OptionError: what it was fed is not finite.
    """
    rows = len(table.weight)
    lost = torch.zeros(len(slices), len(choices), dtype=torch.float64)
    importance = torch.ones(table.weight.shape[1])
    ways: list[tuple[Tensor, Tensor, Tensor | None]] = []
    if table.hessian is not None and table.curvature is not None:
        hessian, curvature = table.hessian.whole(), table.curvature
        _check(name, hessian, curvature)
        rounded_by = hessian if looked_up is None else with_lookups(hessian)
        left, importance = left_over(rounded_by), rounded_by.diagonal()
        if looked_up is not None:  # the rest of it is the lookups', which are priced below
            left = left * hessian.diagonal() / importance
        rounded = hessian.diagonal() if rounds_inputs else None
        ways.append((left, _spread(curvature), rounded))
    if looked_up is not None:
        often = torch.ones(rows) if said is None else _spread(said)
        ways.append((looked_up, often / often.sum(), None))
    for at, some in enumerate(slices):
        for left, counts, rounded in ways:
            found = losses_of(
                table.weight[some], importance, left, counts[some], choices, rounded=rounded
            )
            lost[at] += torch.tensor(found, dtype=torch.float64)
    return lost


def _spread(counts: Tensor) -> Tensor:
    return counts + _ALIKE * (counts.mean() - counts)


def _check(name: str, hessian: Tensor, curvature: Tensor) -> None:
    # An input that is not finite, or whose square is not, shows on the diagonal.
    measured = hessian.diagonal(), curvature
    if not all(bool(torch.isfinite(one).all()) for one in measured):
        raise OptionError(f"--bits: {name}: what it is fed on this text is not finite")
