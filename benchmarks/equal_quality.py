"""How many more queries one model sends on than another for the same quality; knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from escalade.simulator.curves import (
    Columns,
    Counts,
    DeferralCurve,
    Sweep,
    cost_at_quality,
    metric_named,
)
from escalade.simulator.evaluation import Estimate
from escalade.simulator.evaluation.bootstrap import draw_queries, estimate, generator
from escalade.simulator.recorded import Bools, Floats

#: Evenly spread, of those that a cascade can have: one alone hangs on the few queries that are
#: deferred there, and chance goes twice as far in it as in the mean over all.
_QUALITIES = 200


def sweep_of(right: Bools, scores: Floats, above: Bools) -> Sweep:
    """A model below another: whether either is right, `(N,)`, and the score; cost is calls."""
    queries = len(right)
    return Sweep.of(
        Columns(
            ids=np.arange(queries).astype(np.str_),
            score=scores,
            metric=metric_named("recorded"),
            small=right[None].astype(float),
            large=above[None].astype(float),
            levels=np.empty(0),
            small_cost=np.zeros((1, queries)),
            large_cost=np.ones(queries),
        )
    )


def calls(curve: DeferralCurve, quality: float) -> float:
    """The least share of queries that goes on for a quality that the curve has."""
    found = cost_at_quality(curve, quality)
    assert found is not None, quality  # noqa: S101 - no more than the model above has
    return found


def more_calls(exact: Sweep, others: Sequence[Sweep], drawn: Counts | None = None) -> list[float]:
    """By which share each has more queries go on than `exact` for the same quality.

    Of the mean over all qualities from what `exact` has alone to what the model above has; no
    number where there are none between.

    Args:
        exact: at the cost `deferral_rate`, as the others.
        others: over the same queries below the same model.
        drawn: how often each query counts; once if None.
    """
    before = exact.curve(drawn)
    least, most = before.quality[[0, -1]]
    if most <= least:
        return [np.nan] * len(others)
    goals = np.linspace(least, most, _QUALITIES + 1)[1:]
    share, *shares = (
        float(np.mean([calls(curve, goal) for goal in goals]))
        for curve in (before, *(other.curve(drawn) for other in others))
    )
    return [one / share - 1 for one in shares]


def more_calls_of(
    exact: Sweep, others: Sequence[Sweep], *, resamples: int, seed: int
) -> list[Estimate]:
    """The same, with 95 % intervals over resamples of queries."""
    draws = draw_queries(generator(seed), len(exact.order), resamples)
    found = np.array([more_calls(exact, others, drawn) for drawn in draws])
    values = more_calls(exact, others)
    return [estimate(value, column) for value, column in zip(values, found.T, strict=True)]
