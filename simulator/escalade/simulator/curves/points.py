"""One threshold of a recorded cascade: quality, cost and tasks there; knows no network, no plot.

Quality is the share of answers the trace judged correct.
"""

from __future__ import annotations

import msgspec
import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.costs import flops_of_a_token


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cascade at one threshold: `quality = a1 + a2` (equation 9 of the CAT paper)."""

    threshold: float
    deferral_rate: float
    quality: float
    #: Share of all queries that the small model keeps and answers correctly.
    a1: float
    #: Share of all queries that the large model is given and answers correctly.
    a2: float
    flops_per_query: float
    flops_per_token: float


class TaskAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """One task of the mixture at one threshold; accuracies are shares of its `queries`."""

    queries: int
    small_accuracy: float
    large_accuracy: float
    cascade_accuracy: float
    deferral_rate: float


def at_threshold(trace: Trace, tau: float) -> OperatingPoint:
    """The cascade at one threshold, which need not be a score of the trace.

    Raises:
        SimulatorError: the trace lacks large answers, references or parameter counts.
    """
    columns = columns_of(trace, cost="flops_per_query")
    small_flops, large_flops = flops_of_a_token(trace)
    deferred = ~(columns.score < tau)
    rate = float(deferred.mean())
    a1 = float((columns.small[0] * ~deferred).mean())
    a2 = float((columns.large[0] * deferred).mean())
    return OperatingPoint(
        threshold=tau,
        deferral_rate=rate,
        quality=a1 + a2,
        a1=a1,
        a2=a2,
        flops_per_query=float((columns.small_cost + deferred * columns.large_cost).mean()),
        flops_per_token=small_flops + rate * large_flops,
    )


def by_task(trace: Trace, tau: float | None = None) -> dict[str, TaskAccuracy]:
    """Accuracies and deferral rate of each task, at `tau` or the trace's own threshold."""
    columns = columns_of(trace, cost="deferral_rate")
    small, large = columns.small[0], columns.large[0]
    deferred = ~(columns.score < (trace.header.threshold if tau is None else tau))
    cascade = np.where(deferred, large, small)
    tasks = np.array([record.task for record in trace.records])
    table = {}
    for task in sorted(set(tasks.tolist())):
        of_task = tasks == task
        table[task] = TaskAccuracy(
            queries=int(of_task.sum()),
            small_accuracy=float(small[of_task].mean()),
            large_accuracy=float(large[of_task].mean()),
            cascade_accuracy=float(cascade[of_task].mean()),
            deferral_rate=float(deferred[of_task].mean()),
        )
    return table
