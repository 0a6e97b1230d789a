"""A simulation's numbers as columns for notebooks, and behind each figure; knows no page."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from escalade.simulator.frames import Frame, Value, frame_of
from escalade.simulator.recorded import Floats
from escalade.simulator.replay.simulation import Simulation
from escalade.simulator.replay.steps import curves_of
from escalade.simulator.replay.summary import DegradedRow, Spent, Summary

#: Shares of the queries whose latency a distribution says.
_SHARES = np.linspace(0, 1, 101)


def frames_of(simulation: Simulation) -> list[Frame]:
    """`points`, `tiers`, `latency`, `links`, `distribution` and `curve`.

    In `distribution` the rows without thresholds are of the last tier only; in `curve` the other
    gates are at the first thresholds that were replayed, and a threshold of infinity lets every
    answer with a finite score stand.
    """
    summary = simulation.summary
    return [
        _points(summary),
        _tiers(summary),
        _latency(summary),
        _links(summary),
        _distribution(simulation),
        _curve(simulation),
    ]


def _points(summary: Summary) -> Frame:
    head = ["trace", "thresholds", "accuracy", "calls", "calls_saved", "bytes_saved"]
    head += ["flops", "flops_last_only", "money", "money_last_only", "tokens_saved", "kept"]
    rows: list[list[Value]] = [
        [
            row.trace,
            _thresholds(row.thresholds),
            row.accuracy,
            row.calls,
            row.calls_saved,
            row.bytes_saved,
            *_spent(row.flops),
            *_spent(row.money),
            row.tokens_saved,
            row.kept,
        ]
        for row in summary.points
    ]
    return frame_of("points", head, rows)


def _tiers(summary: Summary) -> Frame:
    head = ["trace", "thresholds", "tier", "asked", "answered", "members", "bytes_up", "bytes_down"]
    rows: list[list[Value]] = [
        [
            row.trace,
            _thresholds(row.thresholds),
            tier.name,
            tier.asked,
            tier.answered,
            tier.members,
            tier.bytes_up,
            tier.bytes_down,
        ]
        for row in summary.points
        for tier in row.tiers
    ]
    return frame_of("tiers", head, rows)


def _latency(summary: Summary) -> Frame:
    head = ["trace", "thresholds", "network", "p50_s", "p95_s", "mean_s"]
    head += ["last_only_p50_s", "last_only_p95_s", "last_only_mean_s"]
    head += ["asked_again", "joules", "joules_last_only", "link_money", "link_money_last_only"]
    head += ["degraded", "accuracy", "late_accuracy", "last_only_lost"]
    rows: list[list[Value]] = [
        [
            row.trace,
            _thresholds(row.thresholds),
            row.network,
            *(
                value
                for took in (row.cascade, row.last_only)
                for value in (took.p50_s, took.p95_s, took.mean_s)
            ),
            row.asked_again,
            *_spent(row.joules),
            *_spent(row.link_money),
            *_degraded(row.degraded),
        ]
        for row in summary.networks
    ]
    return frame_of("latency", head, rows)


def _spent(spent: Spent | None) -> tuple[Value, Value]:
    return (None, None) if spent is None else (spent.cascade, spent.last_only)


def _degraded(row: DegradedRow | None) -> tuple[Value, ...]:
    if row is None:
        return (None,) * 4
    return row.share, row.accuracy, row.late_accuracy, row.last_only_lost


def _links(summary: Summary) -> Frame:
    head = ["trace", "thresholds", "network", "tier", "profile", "joules", "money"]
    rows: list[list[Value]] = [
        [
            row.trace,
            _thresholds(row.thresholds),
            row.network,
            link.tier,
            link.profile,
            link.joules,
            link.money,
        ]
        for row in summary.networks
        for link in row.links
    ]
    return frame_of("links", head, rows)


def _distribution(simulation: Simulation) -> Frame:
    rows: list[list[Value]] = []

    def add(trace: str, thresholds: str | None, network: str, seconds: Floats) -> None:
        took = np.quantile(seconds, _SHARES, method="inverted_cdf")
        rows.extend(
            [trace, thresholds, network, share, value]
            for share, value in zip(_SHARES.tolist(), took.tolist(), strict=True)
        )

    seen = set()
    for trace, replay in simulation.replays:
        network = replay.course.network.name
        add(trace, _thresholds(replay.thresholds), network, replay.cascade_s)
        if (trace, network) not in seen:
            seen.add((trace, network))
            add(trace, None, network, replay.course.last_only_s)
    return frame_of("distribution", ["trace", "thresholds", "network", "share", "seconds"], rows)


def _curve(simulation: Simulation) -> Frame:
    rows: list[list[Value]] = []
    tiers = {row.name: row.tiers for row in simulation.summary.traces}
    for trace, curves in curves_of(simulation).items():
        for tier, curve in zip(tiers[trace], curves, strict=False):
            accuracy = (
                [None] * len(curve.calls) if curve.accuracy is None else curve.accuracy.tolist()
            )
            rows.extend(
                [trace, tier.name, *point]
                for point in zip(
                    curve.thresholds.tolist(), curve.calls.tolist(), accuracy, strict=True
                )
            )
    return frame_of("curve", ["trace", "gate", "threshold", "calls", "accuracy"], rows)


def _thresholds(thresholds: Iterable[float]) -> str:
    return ",".join(f"{tau!r}" for tau in thresholds)
