"""A trace split at one of its gates: the tier before it, and everything above; knows no metric.

Equation 6 of the CAT paper (arXiv 2406.00060) is of two models, `C_cas(x) = C_S(x) +
1[r(x) >= tau] C_L(x)`. A gate of a cascade of many tiers is that too. S is the tier before the
gate. L is all that is above it, under the thresholds that the gates there were recorded with:
its answer is that of the tier where a query ends, its cost that of every member on the way.

Only queries that come to the gate count, under the recorded thresholds below it: what is
answered below never sees it, and what a query spent below it has spent whatever the gate does.
The curve is then that of the cascade that begins with the gate's tier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import TierAnswer, TierInfo, Trace, TraceHeader, TraceRecord
from escalade.simulator.errors import SimulatorError, unknown
from escalade.simulator.recorded import (
    Climb,
    CostModel,
    Floats,
    RecordedTier,
    climb,
    recorded_thresholds,
    tiers_of,
)


@dataclass(frozen=True)
class Split:
    """N queries that come to a gate.

    Attributes:
        header: of the whole trace.
        records: N.
        tier: the one before the gate.
        upper: those above it, at least 1.
        above: how the queries go through them, were all deferred.
    """

    header: TraceHeader
    records: list[TraceRecord]
    tier: RecordedTier
    upper: list[RecordedTier]
    above: Climb

    @property
    def large_answers(self) -> list[TierAnswer]:
        """What is answered to each query, were it deferred."""
        places = self.above.answered_by.tolist()
        return [self.upper[place].answers[k] for k, place in enumerate(places)]

    def costs(self, cost: CostModel) -> tuple[Floats, Floats]:
        """`(V, N)` C_S at each level of the gate's threshold, and `(N,)` C_L.

        Raises:
            SimulatorError: see `CostModel`; or all are 0.
        """
        cost.check(self.header)
        above = self.above.spent([tier.at_levels(cost) for tier in self.upper]) + cost.of_deferral
        below = self.tier.at_levels(cost)
        if not (below.any() or above.any()):
            raise SimulatorError(
                f"cost {cost.name!r}: nobody in the trace has spent any; `escalade record` writes"
                " seconds, and bytes where a link is crossed"
            )
        return below, above


def split_at(trace: Trace, gate: str | None = None) -> Split:
    """Split a trace recorded in shadow mode at a gate.

    Args:
        trace: every tier's answer to every query.
        gate: the tier before it; None is the first.

    Raises:
        SimulatorError: there is no such gate, or no query comes to it; an answer is missing; or
            another gate was recorded without a threshold.
    """
    infos = trace.header.tiers
    place = gate_place(infos, gate)
    tiers = tiers_of(trace)
    below = climb(tiers[: place + 1], recorded_thresholds(infos[: place + 1]))
    reached = np.flatnonzero(below.reached[place])
    if not len(reached):
        raise SimulatorError(f"no query comes to the gate after tier {infos[place].name!r}")
    tier, *upper = (one.take(reached) for one in tiers[place:])
    return Split(
        header=trace.header,
        records=[trace.records[k] for k in reached],
        tier=tier,
        upper=upper,
        above=climb(upper, recorded_thresholds(infos[place + 1 :])),
    )


def gate_place(tiers: Sequence[TierInfo], gate: str | None) -> int:
    """Where the tier before a gate stands.

    Raises:
        SimulatorError: there is none of that name, or no tier above it.
    """
    names = [tier.name for tier in tiers]
    if len(tiers) < 2:  # noqa: PLR2004
        raise SimulatorError(
            f"the trace must have at least 2 tiers; it has {len(tiers)}: {', '.join(names)}"
        )
    if gate is None:
        return 0
    if gate not in names[:-1]:
        last = " (the last, which has no gate)" if gate == names[-1] else ""
        raise SimulatorError(unknown("gate", gate, names[:-1]) + last)
    return names.index(gate)


def paired_places(
    splits: Sequence[Split], labels: Sequence[str] | None = None
) -> list[NDArray[np.intp]]:
    """For each trace, where the queries that all of them share stand, in the first's order.

    Args:
        splits: of at least 1 trace.
        labels: what errors call them; None is `trace 1` and so on.

    Raises:
        SimulatorError: a trace holds a query twice, no query is in all, or queries of one id
            differ in task or references.
    """
    labels = labels or [f"trace {k}" for k in range(1, len(splits) + 1)]
    places = []
    for label, split in zip(labels, splits, strict=True):
        place = {record.id: k for k, record in enumerate(split.records)}
        if len(place) != len(split.records):
            raise SimulatorError(
                f"{label}: {len(split.records) - len(place)} of {len(split.records)} queries are"
                " in the trace twice; to pair traces, each id must be in each once"
            )
        places.append(place)
    shared = [id_ for id_ in places[0] if all(id_ in place for place in places)]
    if not shared:
        raise SimulatorError("no query is in every trace; traces are paired by their queries' ids")
    found = [np.array([place[id_] for id_ in shared], dtype=np.intp) for place in places]
    asked = [
        [(split.records[k].task, split.records[k].references) for k in rows]
        for split, rows in zip(splits, found, strict=True)
    ]
    for label, other in zip(labels, asked, strict=True):
        if differ := sum(one != another for one, another in zip(asked[0], other, strict=True)):
            raise SimulatorError(
                f"{label}: {differ} of {len(shared)} queries have another task or other references"
                f" than those of the same id in {labels[0]}; to pair traces, they must be the same"
            )
    return found
