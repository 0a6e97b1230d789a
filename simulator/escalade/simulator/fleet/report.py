"""The numbers of a fleet as JSON-able records; knows no event and no table.

Shares are in [0, 1], times in seconds, money in whatever `price_per_hour` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.devices import EnergyRow
from escalade.simulator.fleet.description import Group, Spec
from escalade.simulator.fleet.engine import (
    AT_GATEWAY,
    DEFERRED,
    DEGRADED,
    Floats,
    Ints,
    Outcome,
    Tally,
    quantile,
)

Number = TypeVar("Number", np.int64, np.float64)

#: Bins of time that a report has: an hour each of a day.
_WINDOWS = 24
#: And pictures, as many of each.
_FINER = 10
#: Bins of time that a run is told in.
WINDOWS = _WINDOWS * _FINER


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""


class LatencyPercentiles(_Row, frozen=True):
    """A distribution in brief, seconds; but for the mean within 0.2 %."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float


class GroupRow(_Row, frozen=True):
    """What became of the queries of one group, those of the warm-up left out."""

    name: str
    devices: int
    queries: int
    #: By the device, its gate letting it stand; and by the cloud.
    answered: int
    deferred: int
    #: The cloud, or a gateway, was due and did not answer: what is below stands, or there is none.
    degraded: int
    dropped: int
    #: From when a query came to its answer; None where there is none. Those dropped are left out.
    latency: LatencyPercentiles | None
    #: Of the cloud's answers.
    latency_deferred: LatencyPercentiles | None
    #: By a gateway, its gate letting it stand.
    at_gateway: int
    #: Of these.
    latency_at_gateway: LatencyPercentiles | None


class GatewayRow(_Row, frozen=True):
    """What gateways of one kind had to do."""

    name: str
    gateways: int
    profile: str
    #: That they answered, those of the warm-up left out.
    answered: int
    #: Share of their slots in use, from the first second to the last.
    utilisation: float
    #: Attempts that came to them, and those for which there was no place, from the first second to
    #: the last.
    attempts: int
    refused: int
    #: Queries that their devices brought to the cloud past them, as they had refused or were cut
    #: off; and those that they refused until their devices' own answers stood (degraded).
    past: int
    turned_away: int


class CloudRow(_Row, frozen=True):
    """What the cloud had to do, from the first second to the last."""

    #: Attempts that came to it, and those for which there was no room.
    attempts: int
    refused: int
    #: Share of the slots in use.
    utilisation: float
    replica_hours: float
    cost: float
    #: Of a million queries of the fleet, wherever they were answered.
    cost_per_million: float


class WindowRow(_Row, frozen=True):
    """One stretch of time."""

    from_s: float
    queries_per_s: float
    attempts_per_s: float
    refused_per_s: float
    degraded_per_s: float
    #: On average, those that start among them.
    replicas: float
    utilisation: float
    waiting: float
    #: For which there was no place at a gateway.
    refused_near_per_s: float


class FleetReport(_Row, frozen=True, omit_defaults=True):
    """A run."""

    seed: int
    seconds: float
    warm_up_s: float
    groups: list[GroupRow]
    #: Of all groups together, where there are several.
    together: GroupRow
    #: Between them and the cloud.
    gateways: list[GatewayRow]
    cloud: CloudRow
    timeline: list[WindowRow]
    #: Such as that of a trace not all queries were read.
    notes: list[str]
    #: Of groups whose devices are named; left out where none are.
    energy: list[EnergyRow] = []


@dataclass(frozen=True)
class FleetRun:
    """A run, with what pictures need beside its report.

    Attributes:
        spec: of the fleet.
        report: its numbers.
        course: its timeline in `WINDOWS` stretches of time.
        loads: by group, `(5, WINDOWS)` of queries, attempts, refused, degraded, and refused at
            gateways.
        histograms: by group, `(OUTCOMES, BINS)` of latencies, see `Tally`; those dropped are left
            out.
    """

    spec: Spec
    report: FleetReport
    course: list[WindowRow]
    loads: dict[str, Ints]
    histograms: dict[str, Ints]


def run_of(
    spec: Spec,
    outcome: Outcome,
    *,
    seed: int,
    notes: Sequence[str],
    energy: Sequence[EnergyRow] = (),
) -> FleetRun:
    """A run, of what came in `WINDOWS` bins of time, its seed, and what is to be said of it."""
    return FleetRun(
        spec=spec,
        report=_report_of(spec, outcome, seed=seed, notes=notes, energy=energy),
        course=_timeline(spec, outcome, WINDOWS),
        loads={
            group.name: np.array([one[k] for one in _loads_of(outcome.tally)])
            for k, group in enumerate(spec.groups)
        },
        histograms={
            group.name: histogram
            for group, histogram in zip(
                spec.groups, _with_answer(spec.groups, outcome.tally.histogram), strict=True
            )
        },
    )


def _report_of(
    spec: Spec,
    outcome: Outcome,
    *,
    seed: int,
    notes: Sequence[str],
    energy: Sequence[EnergyRow],
) -> FleetReport:
    """The numbers of a run.

    Args:
        spec: of the fleet.
        outcome: what came, in `WINDOWS` bins of time.
        seed: that it was run with.
        notes: what is to be said of it.
        energy: of its devices.
    """
    tally = outcome.tally
    rows = [
        _group_row(group.name, [group], tally.histogram[k : k + 1], tally.sums[k : k + 1])
        for k, group in enumerate(spec.groups)
    ]
    arrived = int(tally.arrived.sum())
    cost = float(outcome.paid_s.sum()) / 3600 * spec.cloud.price_per_hour
    return FleetReport(
        seed=seed,
        seconds=spec.seconds,
        warm_up_s=spec.warm_up_s,
        groups=rows,
        together=_group_row("together", spec.groups, tally.histogram, tally.sums),
        gateways=_gateway_rows(spec, rows, outcome),
        cloud=CloudRow(
            attempts=int(tally.sent.sum()),
            refused=int(tally.refused.sum()),
            utilisation=_share(outcome.used_s.sum(), spec.cloud.slots * outcome.paid_s.sum()),
            replica_hours=float(outcome.paid_s.sum()) / 3600,
            cost=cost,
            cost_per_million=_share(1e6 * cost, arrived),
        ),
        timeline=_timeline(spec, outcome, _WINDOWS),
        notes=list(notes),
        energy=list(energy),
    )


def _gateway_rows(spec: Spec, rows: Sequence[GroupRow], outcome: Outcome) -> list[GatewayRow]:
    tally, found = outcome.tally, []
    for gateway, used_s in zip(spec.gateways, outcome.gateways_s.tolist(), strict=True):
        own = [k for k, group in enumerate(spec.groups) if group.gateway == gateway.name]
        found.append(
            GatewayRow(
                name=gateway.name,
                gateways=gateway.count,
                profile=gateway.profile,
                answered=sum(rows[k].at_gateway for k in own),
                utilisation=used_s / (gateway.count * gateway.slots * spec.seconds),
                attempts=int(tally.near_sent[own].sum()),
                refused=int(tally.near_refused[own].sum()),
                past=int(tally.past[own].sum()),
                turned_away=int(tally.turned_away[own].sum()),
            )
        )
    return found


def _group_row(name: str, groups: Sequence[Group], histogram: Ints, sums: Floats) -> GroupRow:
    counts = histogram.sum(axis=2)
    kept = _with_answer(groups, histogram)
    answered, deferred, degraded, at_gateway = counts.sum(axis=0).tolist()

    def took(outcome: int) -> LatencyPercentiles | None:
        return _percentiles(histogram[:, outcome].sum(axis=0), float(sums[:, outcome].sum()))

    dropped = int((counts - kept.sum(axis=2)).sum())
    return GroupRow(
        name=name,
        devices=sum(group.count for group in groups),
        queries=answered + deferred + degraded + at_gateway,
        answered=answered,
        deferred=deferred,
        degraded=degraded - dropped,
        dropped=dropped,
        latency=_percentiles(kept.sum(axis=(0, 1)), float(_with_answer(groups, sums).sum())),
        latency_deferred=took(DEFERRED),
        at_gateway=at_gateway,
        latency_at_gateway=took(AT_GATEWAY),
    )


def _with_answer(groups: Sequence[Group], counts: NDArray[Number]) -> NDArray[Number]:
    """Counts `(G, OUTCOMES, ...)` of queries by outcome without those that were dropped."""
    kept = counts.copy()
    for k, group in enumerate(groups):
        if group.answers is not None and not group.answers.fallback:
            kept[k, DEGRADED] = 0
    return kept


def _percentiles(counts: Ints, sum_s: float) -> LatencyPercentiles | None:
    count = int(counts.sum())
    if not count:
        return None
    p50, p90, p95, p99, p99_9 = (quantile(counts, share) for share in (0.5, 0.9, 0.95, 0.99, 0.999))
    return LatencyPercentiles(
        count=count, mean=sum_s / count, p50=p50, p90=p90, p95=p95, p99=p99, p99_9=p99_9
    )


def _timeline(spec: Spec, outcome: Outcome, windows: int) -> list[WindowRow]:
    """Until the end, in so many stretches of as many bins each."""
    width_s = spec.seconds / windows

    def a_second(bins: NDArray[Number]) -> list[float]:
        return [float(one) / width_s for one in bins.reshape(windows, -1).sum(axis=1)]

    columns = [a_second(one.sum(axis=0)) for one in _loads_of(outcome.tally)]
    queries, attempts, refused, degraded, refused_near = columns
    paid, used, waited = map(a_second, (outcome.paid_s, outcome.used_s, outcome.waited_s))
    return [
        WindowRow(
            from_s=k * width_s,
            queries_per_s=queries[k],
            attempts_per_s=attempts[k],
            refused_per_s=refused[k],
            degraded_per_s=degraded[k],
            replicas=paid[k],
            utilisation=_share(used[k], spec.cloud.slots * paid[k]),
            waiting=waited[k],
            refused_near_per_s=refused_near[k],
        )
        for k in range(windows)
    ]


def _loads_of(tally: Tally) -> tuple[Ints, ...]:
    """`(G, W)` each, without what comes after the end."""
    counts = tally.arrived, tally.sent, tally.refused, tally.degraded, tally.near_refused
    return tuple(one[:, :-1] for one in counts)


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0
