"""A trace as columns under one rule, one metric and one cost; knows no threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.curves.answers import RECORDED, Floats, Rule, scores_of
from escalade.simulator.curves.costs import CostModel, cost_named
from escalade.simulator.curves.metrics import Metric, metric_named
from escalade.simulator.errors import SimulatorError


@dataclass(frozen=True)
class Columns:
    """N queries of a trace, S statistics to an answer.

    Attributes:
        ids: `(N,)` the queries.
        score: `(N,)` r(x); infinite where the query defers at every threshold.
        metric: what the statistics mean.
        small: `(S, N)` the small model's answers.
        large: `(S, N)` the large model's.
        small_cost: `(N,)` C_S.
        large_cost: `(N,)` C_L.
    """

    ids: NDArray[np.str_]
    score: Floats
    metric: Metric
    small: Floats
    large: Floats
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
            small_cost=self.small_cost[places],
            large_cost=self.large_cost[places],
        )

    def scored(self, score: Floats) -> Columns:
        """The same answers under other scores `(N,)`."""
        return replace(self, score=score)


def columns_of(
    trace: Trace,
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
    small, large = metric.statistics(trace)
    small_cost, large_cost = cost(trace)
    return Columns(
        ids=np.array([record.id for record in trace.records], dtype=np.str_),
        score=scores_of(trace, rule),
        metric=metric,
        small=np.ascontiguousarray(small.T),
        large=np.ascontiguousarray(large.T),
        small_cost=small_cost,
        large_cost=large_cost,
    )


def paired_places(
    traces: Sequence[Trace], labels: Sequence[str] | None = None
) -> list[NDArray[np.intp]]:
    """For each trace, where the queries that all of them share stand, in the first's order.

    Args:
        traces: at least 1.
        labels: what errors call them; None is `trace 1` and so on.

    Raises:
        SimulatorError: a trace holds a query twice, no query is in all, or queries of one id
            differ in task or references.
    """
    labels = labels or [f"trace {k}" for k in range(1, len(traces) + 1)]
    places = []
    for label, trace in zip(labels, traces, strict=True):
        place = {record.id: k for k, record in enumerate(trace.records)}
        if len(place) != len(trace.records):
            raise SimulatorError(
                f"{label}: {len(trace.records) - len(place)} of {len(trace.records)} queries are"
                " in the trace twice; to pair traces, each id must be in each once"
            )
        places.append(place)
    shared = [id_ for id_ in places[0] if all(id_ in place for place in places)]
    if not shared:
        raise SimulatorError("no query is in every trace; traces are paired by their queries' ids")
    found = [np.array([place[id_] for id_ in shared], dtype=np.intp) for place in places]
    asked = [
        [(trace.records[k].task, trace.records[k].references) for k in rows]
        for trace, rows in zip(traces, found, strict=True)
    ]
    for label, other in zip(labels, asked, strict=True):
        if differ := sum(one != another for one, another in zip(asked[0], other, strict=True)):
            raise SimulatorError(
                f"{label}: {differ} of {len(shared)} queries have another task or other references"
                f" than those of the same id in {labels[0]}; to pair traces, they must be the same"
            )
    return found
