"""The headline numbers of traces, over all queries and over resamples; knows no group.

Every number is a function of a resampled deferral curve, so thresholds are set anew in each
resample, as they would be on another sample of queries. The target quality and the budget
stay where they were put.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from escalade.simulator.curves import (
    Columns,
    Counts,
    DeferralCurve,
    Sweep,
    area_under_curve,
    cost_at_quality,
    mean_from,
    oracle,
)
from escalade.simulator.evaluation.bootstrap import draw_queries
from escalade.simulator.recorded import Floats

#: The headline numbers, in the order of the last axis of the arrays here.
NUMBERS = (
    "small_quality",
    "large_quality",
    "area",
    "random_area",
    "oracle_area",
    "share_of_oracle_gain",
    "cost_at_quality",
    "saved_against_large",
    "saved_at_large_quality",
    "quality_at_budget",
)

#: Resamples drawn at once; what they need stays in a few tens of megabytes.
_BATCH = 100

#: Areas that differ by less are the same: a rounding error is no gain to take a share of.
_NO_GAIN = 1e-12


@dataclass(frozen=True)
class Target:
    """Where curves are read off: a quality to reach, and a cost to spend."""

    quality: float
    budget: float | None


@dataclass(frozen=True)
class SortedTrace:
    """One trace under each rule, sorted and ready to be resampled."""

    sweeps: list[Sweep]
    oracle: Sweep

    @staticmethod
    def of(columns: Columns, scores: Sequence[Floats]) -> SortedTrace:
        """Answers, and their scores `(N,)` under each rule."""
        return SortedTrace(
            [Sweep.of(columns.scored(score)) for score in scores], Sweep.of(oracle(columns))
        )

    def numbers(self, target: Target, drawn: Counts | None = None) -> Floats:
        """`(rules, NUMBERS)` over all queries, or with query k counted `drawn[k]` times.

        Infinite is a cost that nothing reaches, and not a number what then has no value.
        """
        best, ends = self.oracle.curve(drawn), self.oracle.ends(drawn)
        small, large = ends.quality(np.array([0.0, 1.0]))
        costs = self.oracle.columns.large_cost
        large_cost = float(costs.mean() if drawn is None else costs @ drawn / ends.queries)

        def of_rule(curve: DeferralCurve) -> tuple[float, ...]:
            # Random deferral and the oracle are held to the rates that the cascade reaches.
            lowest = float(curve.deferral_rate[0])
            area, random = area_under_curve(curve), ends.mean_from(lowest)
            most = mean_from(best, lowest)
            cost = _or_infinite(cost_at_quality(curve, target.quality))
            # The curve ends at the large model; its own last value is reached, come rounding.
            cost_at_large = _or_infinite(cost_at_quality(curve, float(curve.quality[-1])))
            return (
                small,
                large,
                area,
                random,
                most,
                (area - random) / (most - random) if abs(most - random) > _NO_GAIN else np.nan,
                cost,
                1 - cost / large_cost if large_cost else np.nan,
                1 - cost_at_large / large_cost if large_cost else np.nan,
                _quality_for(curve, target.budget),
            )

        return np.array([of_rule(sweep.curve(drawn)) for sweep in self.sweeps])


def replicate(
    traces: Sequence[SortedTrace],
    target: Target,
    resamples: int,
    rng: np.random.Generator,
    tick: Callable[[], None],
) -> Floats:
    """`(traces, resamples, rules, NUMBERS)`; a resample draws the same queries for all.

    Args:
        traces: over the same queries in the same order.
        target: where to read the curves off.
        resamples: how many.
        rng: draws the queries.
        tick: called after each batch of each trace, `batches(resamples)` times for each.
    """
    queries = len(traces[0].oracle.order)
    rules = len(traces[0].sweeps)
    out = np.empty((len(traces), resamples, rules, len(NUMBERS)))
    for start in range(0, resamples, _BATCH):
        draws = draw_queries(rng, queries, min(_BATCH, resamples - start))
        for trace, numbers in zip(traces, out, strict=True):
            for k, drawn in enumerate(draws, start=start):
                numbers[k] = trace.numbers(target, drawn)
            tick()
    return out


def batches(resamples: int) -> int:
    """How many batches `replicate` makes of that many resamples."""
    return -(-resamples // _BATCH)


def _quality_for(curve: DeferralCurve, budget: float | None) -> float:
    """Quality for a budget: all deferred where it is ample, nothing where it is too small.

    Where costs fall on the way (a vote that defers early asks fewer members), the last way that
    the budget goes.
    """
    if budget is None or not (within := np.flatnonzero(curve.cost <= budget)).size:
        return np.nan
    k = int(within[-1])
    if k + 1 == len(curve.cost):
        return float(curve.quality[-1])
    (cheaper, dearer), (before, after) = curve.cost[k : k + 2], curve.quality[k : k + 2]
    return float((after - before) / (dearer - cheaper) * (budget - cheaper) + before)


def _or_infinite(cost: float | None) -> float:
    return np.inf if cost is None else cost
