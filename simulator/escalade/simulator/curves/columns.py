"""A gate's queries as columns under one rule, one metric and one cost; knows no threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.curves.metrics import Metric, metric_named
from escalade.simulator.curves.split import Split
from escalade.simulator.recorded import RECORDED, CostModel, Floats, Rule, cost_named, scores_of


@dataclass(frozen=True)
class Columns:
    """N queries that come to a gate, S statistics to an answer.

    Attributes:
        ids: `(N,)` the queries.
        score: `(N,)` r(x); infinite where the query defers at every threshold.
        metric: what the statistics mean.
        small: `(S, N)` the answers of the tier before the gate.
        large: `(S, N)` those given above it.
        levels: `(V - 1,)` see `RecordedTier`; none of a single model.
        small_cost: `(V, N)` C_S at each level of the threshold.
        large_cost: `(N,)` C_L.
    """

    ids: NDArray[np.str_]
    score: Floats
    metric: Metric
    small: Floats
    large: Floats
    levels: Floats
    small_cost: Floats
    large_cost: Floats

    def take(self, places: NDArray[np.intp]) -> Columns:
        """These queries only, in this order."""
        return replace(
            self,
            ids=self.ids[places],
            score=self.score[places],
            small=self.small[:, places],
            large=self.large[:, places],
            small_cost=self.small_cost[:, places],
            large_cost=self.large_cost[places],
        )

    def scored(self, score: Floats) -> Columns:
        """The same answers under other scores `(N,)`."""
        return replace(self, score=score)

    def undeferred(self) -> Columns:
        """The same where C_S is what it is when nothing is deferred, for scores of no vote."""
        return replace(self, levels=self.levels[:0], small_cost=self.small_cost[-1:])


def columns_of(
    split: Split,
    *,
    rule: Rule = RECORDED,
    metric: str | Metric = "recorded",
    cost: str | CostModel = "flops_per_token",
) -> Columns:
    """The columns a curve is made of.

    Raises:
        SimulatorError: an unknown name; or the trace lacks what the rule, the metric or the
            cost model needs.
    """
    metric, cost = metric_named(metric), cost_named(cost)
    small = metric.statistics(split.records, split.tier.answers)
    large = metric.statistics(split.records, split.large_answers)
    small_cost, large_cost = split.costs(cost)
    return Columns(
        ids=np.array([record.id for record in split.records], dtype=np.str_),
        score=scores_of(split.tier, rule),
        metric=metric,
        small=np.ascontiguousarray(small.T),
        large=np.ascontiguousarray(large.T),
        levels=split.tier.levels,
        small_cost=small_cost,
        large_cost=large_cost,
    )
