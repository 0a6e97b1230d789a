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


def prices_of(name: str, linear: Linear, choices: Sequence[Choice]) -> Tensor:
    """Of a matrix that is multiplied, `(choices,)`, float64; 0 where nobody reads the products.

    Raises:
        OptionError: what it was fed is not finite.
    """
    lost = torch.zeros(len(choices), dtype=torch.float64)
    for part in linear.parts or (linear,):
        if part.hessian is not None and part.curvature is not None:
            hessian = part.hessian.whole()
            _check(name, hessian, part.curvature)
            left, importance = left_over(hessian), hessian.diagonal()
            found = losses_of(part.weight, importance, left, part.curvature, choices)
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

    Raises:
        OptionError: what it was fed is not finite.
    """
    rows = len(table.weight)
    lost = torch.zeros(len(slices), len(choices), dtype=torch.float64)
    importance = torch.ones(table.weight.shape[1])
    ways: list[tuple[Tensor, Tensor]] = []
    if table.hessian is not None and table.curvature is not None:
        hessian, curvature = table.hessian.whole(), table.curvature
        _check(name, hessian, curvature)
        rounded_by = hessian if looked_up is None else with_lookups(hessian)
        left, importance = left_over(rounded_by), rounded_by.diagonal()
        if looked_up is not None:  # the rest of it is the lookups', which are priced below
            left = left * hessian.diagonal() / importance
        ways.append((left, _spread(curvature)))
    if looked_up is not None:
        often = torch.ones(rows) if said is None else _spread(said)
        ways.append((looked_up, often / often.sum()))
    for at, some in enumerate(slices):
        for left, counts in ways:
            found = losses_of(table.weight[some], importance, left, counts[some], choices)
            lost[at] += torch.tensor(found, dtype=torch.float64)
    return lost


def _spread(counts: Tensor) -> Tensor:
    return counts + _ALIKE * (counts.mean() - counts)


def _check(name: str, *measured: Tensor) -> None:
    if not all(bool(torch.isfinite(one).all()) for one in measured):
        raise OptionError(f"--bits: {name}: what it is fed on this text is not finite")
