"""A trace's columns sorted once, and the deferral curves of its resamples; knows no reading off.

A curve is exact: it has a point for each distinct score, and queries that tie are deferred
together. Statistics are summed, so a curve is a few running sums and so is one of a resample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.curves.columns import Columns
from escalade.simulator.curves.metrics import Metric
from escalade.simulator.recorded import Floats

#: How often each query was drawn, `(N,)`.
Counts = NDArray[np.int32]

#: Points of the random line, where it is not straight (corpus metrics).
_RANDOM_POINTS = 65


@dataclass(frozen=True)
class DeferralCurve:
    """Every operating point of a cascade, from no deferral to all; arrays are `(K,)`.

    Row k is the cascade at `threshold[k]`. The first threshold is infinite (no query is
    deferred, but those of an infinite score), the others are the distinct scores, falling;
    `deferral_rate` rises, strictly where no query has weight 0.

    Attributes:
        cost: mean over queries of equation 6 of the CAT paper (arXiv 2406.00060).
        quality: the metric over the cascade's answers (equation 9).
        a1: what the queries that stay add to a mean metric; None for a corpus metric.
        a2: what the deferred ones add; `quality = a1 + a2`.
    """

    metric: Metric
    threshold: Floats
    deferral_rate: Floats
    cost: Floats
    quality: Floats
    a1: Floats | None = None
    a2: Floats | None = None


@dataclass(frozen=True)
class RandomDeferral:
    """A cascade that defers at random, in expectation: the line a rule has to beat.

    Attributes:
        small: `(S,)` summed statistics of the small model alone.
        large: `(S,)` of the large model alone.
    """

    metric: Metric
    small: Floats
    large: Floats
    queries: float

    def quality(self, rates: Floats) -> Floats:
        """Quality `(R,)` at deferral rates `(R,)`: the metric of the expected statistics.

        The straight line between the two models alone for a mean metric; for a corpus metric
        right to first order.
        """
        sums = self.small[:, None] + (self.large - self.small)[:, None] * rates
        return self.metric.score(sums, self.queries)

    def mean_from(self, lowest: float) -> float:
        """Mean quality over all deferral rates, those under `lowest` with the quality at it."""
        points = 2 if self.metric.is_mean else _RANDOM_POINTS
        rates = np.linspace(lowest, 1.0, points)
        quality = self.quality(rates)
        return float(lowest * quality[0] + np.trapezoid(quality, rates))


@dataclass(frozen=True)
class Sweep:
    """Columns sorted by score once, so that a curve costs no more than a few running sums.

    Attributes:
        order: `(N,)` the queries by falling score.
        groups: `(G,)` where in that order each distinct score begins.
        threshold: `(K,)` see `DeferralCurve`; K is G + 1, or G where a score is infinite.
        level: `(K,)` the level of each threshold, see `RecordedTier`.
        gain: `(S, N)` what deferring a query adds to each statistic, by falling score.
        flat_cost: (C_S, C_L), where they are the same for all queries.
    """

    columns: Columns
    order: NDArray[np.intp]
    groups: NDArray[np.intp]
    threshold: Floats
    level: NDArray[np.intp]
    gain: Floats
    flat_cost: tuple[float, float] | None

    @staticmethod
    def of(columns: Columns) -> Sweep:
        """Sort; queries of one score stay in the columns' order."""
        order = np.argsort(-columns.score, kind="stable")
        falling = columns.score[order]
        # `diff` of two infinite scores is NaN, so ask for inequality instead.
        groups = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
        distinct = falling[groups]
        if distinct[0] != np.inf:
            distinct = np.concatenate([[np.inf], distinct])
        small_cost, large_cost = columns.small_cost, columns.large_cost
        is_flat = len(small_cost) == 1 and np.ptp(small_cost) == 0 == np.ptp(large_cost)
        return Sweep(
            columns=columns,
            order=order,
            groups=groups,
            threshold=distinct,
            level=np.searchsorted(columns.levels, distinct),
            gain=(columns.large - columns.small)[:, order],
            flat_cost=(float(small_cost[0, 0]), float(large_cost[0])) if is_flat else None,
        )

    def curve(self, drawn: Counts | None = None) -> DeferralCurve:
        """The curve, each query counted once, or `drawn[k]` times (a resample, `(N,)`).

        Only the curve of all queries carries A1 and A2.
        """
        columns = self.columns
        times = np.ones(len(self.order)) if drawn is None else drawn.astype(np.float64)
        n = float(times.sum())
        weight = times[self.order]
        rate = self._running(weight) / n
        sums = (columns.small @ times)[:, None] + self._running(self.gain * weight)
        if self.flat_cost is not None:
            cost = self.flat_cost[0] + rate * self.flat_cost[1]
        else:
            cost = np.array([row @ times for row in columns.small_cost])[self.level] / n
            cost = cost + self._running(columns.large_cost[self.order] * weight) / n
        a1 = a2 = None
        if drawn is None and columns.metric.is_mean:
            a2 = self._running(columns.large[0, self.order]) / n
            a1 = (columns.small[0].sum() - self._running(columns.small[0, self.order])) / n
        return DeferralCurve(
            metric=columns.metric,
            threshold=self.threshold,
            deferral_rate=rate,
            cost=cost,
            quality=columns.metric.score(sums, n),
            a1=a1,
            a2=a2,
        )

    def ends(self, drawn: Counts | None = None) -> RandomDeferral:
        """Either model alone, and what lies between them at random; `drawn` as in `curve`."""
        times = np.ones(len(self.order)) if drawn is None else drawn.astype(np.float64)
        small = self.columns.small @ times
        return RandomDeferral(
            metric=self.columns.metric,
            small=small,
            large=small + self.gain @ times[self.order],
            queries=float(times.sum()),
        )

    def _running(self, values: Floats) -> Floats:
        """Sums over the queries that each threshold defers, `(..., N)` to `(..., K)`."""
        if len(self.groups) < values.shape[-1]:
            values = np.add.reduceat(values, self.groups, axis=-1)
        skip = len(self.threshold) - values.shape[-1]
        sums = np.zeros((*values.shape[:-1], len(self.threshold)))
        np.cumsum(values, axis=-1, out=sums[..., skip:])
        return sums


def oracle(columns: Columns) -> Columns:
    """The same answers, scored by what deferring each query would gain.

    It spends before the gate what is spent there when nothing is deferred.

    For a mean metric no rule has a better curve. A corpus metric has no gain of one query;
    here it is what the query adds to a corpus answered half by each model, and the curve is
    a strong one but not proven the best.
    """
    columns = columns.undeferred()
    gain = columns.large - columns.small
    if columns.metric.is_mean:
        return columns.scored(columns.metric.sign * gain[0])
    n = float(gain.shape[1])
    middle = (columns.small + columns.large).sum(axis=1, keepdims=True) / 2
    with_large = columns.metric.score(middle + gain / 2, n)
    with_small = columns.metric.score(middle - gain / 2, n)
    return columns.scored(columns.metric.sign * (with_large - with_small))
