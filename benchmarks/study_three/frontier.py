"""The best a cascade does at each cost, its thresholds set on other queries; knows no arm, no page.

All gates are set together, for one budget after another, on queries that only set thresholds; what
they then cost and get right is counted on the test queries. A cascade's cost is FLOPs a token,
2 x parameters of every model that a query came to (section 4.1 of the CAT paper).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.base import Record
from escalade.edge.calibration.gates import Sample, climb, for_budget, for_rates
from escalade.edge.deferral import mean_nll
from escalade.edge.trace import is_correct

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """What a model said to n queries."""

    parameters: int
    score: Floats  #: (n,) mean rule, equation 5
    right: NDArray[np.bool_]  #: (n,)


@dataclass(frozen=True)
class Frontier:
    """K operating points of one cascade on n queries, the cheapest first."""

    right: Floats  #: (K, n), 0 or 1
    cost: Floats  #: (K, n), FLOPs a token

    def points(self, drawn: Floats) -> tuple[Floats, Floats]:
        """Mean cost and quality `(B, K)` of resamples `(B, n)`."""
        weights = drawn / drawn.sum(axis=1, keepdims=True)
        return weights @ self.cost.T, weights @ self.right.T


def read_said(path: Path, records: Sequence[Record]) -> Said:
    """The answers that a round left."""
    content = json.loads(path.read_bytes())
    answers = content["answers"]
    return Said(
        parameters=content["parameters"],
        score=np.array([mean_nll(logprobs) for _, logprobs, *_ in answers]),
        right=np.array(
            [
                is_correct(text, record.references)
                for (text, *_), record in zip(answers, records, strict=True)
            ]
        ),
    )


def sample_of(tiers: Sequence[Said], places: Sequence[int] | None = None) -> Sample:
    """A cascade's queries, the first tier first; all of them, or those at some places."""
    sample = Sample(
        scores=np.stack([one.score for one in tiers[:-1]], axis=1),
        right=np.stack([one.right for one in tiers], axis=1),
        costs=[np.full((1, len(one.score)), 2.0 * one.parameters) for one in tiers],
    )
    return sample if places is None else sample.take(places)


def frontier(fit: Sample, test: Sample, budgets: Sequence[float]) -> Frontier:
    """Thresholds of all gates for each budget, most right answers on `fit`; what they do on `test`.

    Args:
        fit: queries that set thresholds.
        test: of the same cascade.
        budgets: mean FLOPs a token, rising; the first at least the first tier's.
    """
    return at_thresholds(test, [for_budget(most, fit, "flops").thresholds for most in budgets])


def at_thresholds(test: Sample, thresholds: Sequence[Sequence[float]]) -> Frontier:
    """What given thresholds do on some queries."""
    judged, rows = test.judged(), np.arange(test.n)
    ends = [climb(test, one) for one in thresholds]
    return Frontier(
        right=np.stack([judged[rows, end.answered_by] for end in ends]),
        cost=np.stack([end.cost for end in ends]),
    )


def surface(
    fit: Sample, test: Sample, rates: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """Rows of (rate of the first gate, of the second, cost, quality), for every pair of rates.

    Thresholds are those at which the gates send on these shares of what comes to them on `fit`.
    """
    rows = []
    for first in rates:
        for second in rates if first else rates[:1]:
            point = at_thresholds(test, [for_rates([first, second], fit)])
            rows.append((first, second, float(point.cost.mean()), float(point.right.mean())))
    return rows
