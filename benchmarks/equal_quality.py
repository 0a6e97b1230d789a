"""Queries that must go on for a cascade to be so often right; knows no model, and no trace."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.evaluation import Estimate
from escalade.simulator.evaluation.bootstrap import draw_queries, estimate, generator

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]

#: Evenly spread, of those that a cascade can have: one alone hangs on the few queries that are
#: deferred there, and chance goes twice as far in it as in the mean over all.
_QUALITIES = 200
# Queries: what rightness adds up to is whole, and a share of it may be off.
_TINY = 1e-6


class Scored(NamedTuple):
    """Of every query, what a model says to it."""

    right: Bools
    #: Higher goes on sooner.
    scores: Floats


def calls(small: Scored, above: Bools, goals: Floats, counts: Floats | None = None) -> Floats:
    """The least shares of queries, by falling score, that make so many right.

    Args:
        small: what is asked first.
        above: `(N,)`, whether the model above it is right.
        goals: `(G,)` shares of right answers; from no more than `above` has.
        counts: `(N,)`, how often each query counts; once each if None.

    Returns:
        `(G,)`.
    """
    times = np.ones(len(above)) if counts is None else counts
    order = np.argsort(-small.scores, kind="stable")
    gained = (times * (above.astype(float) - small.right))[order]
    right = np.concatenate([[0.0], np.cumsum(gained)]) + times @ small.right
    place = np.searchsorted(np.maximum.accumulate(right) + _TINY, goals * times.sum())
    gone = np.concatenate([[0.0], np.cumsum(times[order])])
    found: Floats = gone[np.minimum(place, len(order))] / times.sum()
    return found


def more_calls(
    small: Scored, exact: Scored, above: Bools, counts: Floats | None = None
) -> float | None:
    """By which share `small` has more queries go on than `exact` for the same quality.

    Of the mean over all qualities from what `exact` has alone to what the model above has; None
    where there are none between.
    """
    times = np.ones(len(above)) if counts is None else counts
    least, most = (float(times @ one / times.sum()) for one in (exact.right, above))
    if most <= least:
        return None
    goals = np.linspace(least, most, _QUALITIES + 1)[1:]
    found, before = (float(calls(one, above, goals, times).mean()) for one in (small, exact))
    return found / before - 1


def more_calls_of(
    small: Scored, exact: Scored, above: Bools, *, resamples: int, seed: int
) -> Estimate | None:
    """The same, with its 95 % interval over resamples of queries."""
    value = more_calls(small, exact, above)
    if value is None:
        return None
    drawn = [
        more_calls(small, exact, above, counts.astype(float))
        for counts in draw_queries(generator(seed), len(above), resamples)
    ]
    return estimate(value, np.array([np.nan if one is None else one for one in drawn]))
