"""A simulation's numbers as tables of text, for a terminal or a page; knows neither."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from escalade.edge.base import counted
from escalade.simulator.formats import Cell, TextTable, count, percent, seconds
from escalade.simulator.replay.latency import Latency
from escalade.simulator.replay.simulation import Simulation
from escalade.simulator.replay.steps import GateCurve
from escalade.simulator.replay.summary import PointRow, Summary, TraceRow

_NONE = "\N{EN DASH}"

#: Shares of the queries that a table of latencies has.
_PARTS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)

#: Queries that a price is said for: that of one is a number of many zeros.
_MILLION = 1e6


def lede(summary: Summary) -> list[str]:
    """What each cascade does under each choice of thresholds, in a sentence."""
    last = {row.name: row.tiers[-1] for row in summary.traces}
    lines = []
    for row in summary.points:
        alone = last[row.trace]
        first, *others = row.tiers
        who = [f"{first.name} answers {percent(first.answered)} of the queries"]
        who += [f"{tier.name} {percent(tier.answered)}" for tier in others]
        said = f"{row.trace}, {_named_thresholds(row)}: {', '.join(who)}"
        if row.accuracy is not None and alone.accuracy is not None:
            said += (
                f"; {percent(row.accuracy)} of the answers are right ({alone.name} alone"
                f" {percent(alone.accuracy)})"
            )
        if row.kept is not None:
            said += f"; a policy keeps {percent(row.kept)} that were due"
        said += f"; {percent(row.calls_saved)} of the calls to {alone.name}"
        if row.bytes_saved is None:
            said += " saved"
        elif row.bytes_saved >= 0:
            said += f" and {percent(row.bytes_saved)} of the bytes saved"
        else:
            said += f" saved, {percent(-row.bytes_saved)} more bytes moved"
        lines.append(said)
    return lines


def traces_table(trace: TraceRow) -> TextTable:
    """The tiers of a trace, as recorded."""
    head = ["tier", "place", "models", "parameters", "right alone", "rule", "threshold"]
    rows = [
        [
            Cell(tier.name),
            Cell(tier.place),
            Cell(", ".join(tier.members)),
            Cell(count(tier.parameters)),
            Cell(_share(tier.accuracy)),
            Cell(tier.rule or _NONE),
            Cell(_NONE if tier.threshold is None else f"{tier.threshold:.4g}"),
        ]
        for tier in trace.tiers
    ]
    return TextTable(
        f"{trace.name}, {counted(trace.queries, 'query', ',')}, {trace.created}",
        head,
        rows,
    )


def answers_tables(summary: Summary) -> list[TextTable]:
    """For each trace, who answers under which thresholds, and what that saves."""
    return [
        _answers_table(trace, [row for row in summary.points if row.trace == trace.name])
        for trace in summary.traces
    ]


def latency_tables(summary: Summary) -> list[TextTable]:
    """For each trace, how long an answer takes on each network."""
    found = []
    for trace in summary.traces:
        last = trace.tiers[-1].name
        parts = ("p50", "p95", "mean")
        head = ["network", "threshold", *(f"cascade {part}" for part in parts)]
        head += [f"{last} only {part}" for part in parts]
        own = [row for row in summary.networks if row.trace == trace.name]
        if own[0].asked_again is not None:
            head.append("asked twice")
        rows = [
            [
                Cell(row.network),
                Cell(_thresholds(row.thresholds)),
                *_times(row.cascade),
                *_times(row.last_only),
                *([] if row.asked_again is None else [Cell(percent(row.asked_again))]),
            ]
            for row in own
        ]
        found.append(TextTable(f"{trace.name}: latency", head, rows))
    return found


def distribution_table(simulation: Simulation, network: str) -> TextTable:
    """How long the fastest so many of the queries take on a network."""
    head = ["", *(f"{share:.0%}" for share in _PARTS)]
    several = len(simulation.summary.traces) > 1
    rows = []
    for row in simulation.summary.traces:
        before = f"{row.name}, " if several else ""
        own = [
            replay
            for name, replay in simulation.replays
            if name == row.name and replay.course.network.name == network
        ]
        lines = [(f"threshold {_thresholds(one.thresholds)}", one.cascade_s) for one in own]
        lines.append((f"{row.tiers[-1].name} only", own[0].course.last_only_s))
        rows += [
            [Cell(before + label), *(Cell(seconds(one)) for one in np.quantile(took, _PARTS))]
            for label, took in lines
        ]
    return TextTable("Latency of the fastest so many queries", head, rows)


def curve_table(trace: TraceRow, curves: list[GateCurve], *, several: bool) -> TextTable:
    """What each threshold of each gate does; one trace of `several`."""
    last = trace.tiers[-1].name
    title = f"{trace.name}: every threshold" if several else "Every threshold"
    rows = [
        [
            Cell(f"{tier.name}, {_step(tau)}"),
            Cell(percent(calls)),
            Cell(_NONE if curve.accuracy is None else percent(curve.accuracy[k])),
        ]
        for tier, curve in zip(trace.tiers, curves, strict=False)
        for k, (tau, calls) in enumerate(zip(curve.thresholds, curve.calls, strict=True))
    ]
    return TextTable(title, ["gate, threshold", f"go to {last}", "right"], rows)


def _answers_table(trace: TraceRow, points: list[PointRow]) -> TextTable:
    last = trace.tiers[-1].name
    head = ["threshold", *(f"{tier.name} answers" for tier in trace.tiers), "right"]
    if points[0].kept is not None:
        head.append("kept here")
    head += [f"calls to {last} saved", "bytes saved"]
    if points[0].tokens_saved is not None:
        head.append("device tokens saved")
    if points[0].flops is not None:
        head.append("FLOPs a query")
    if points[0].money is not None:
        head.append(f"{trace.currency} a million queries, models")
    rows = [
        [
            Cell(_thresholds(row.thresholds)),
            *(
                Cell(percent(share.answered), _members(share.members, len(tier.members)))
                for share, tier in zip(row.tiers, trace.tiers, strict=True)
            ),
            Cell(_share(row.accuracy)),
            *([] if row.kept is None else [Cell(percent(row.kept))]),
            Cell(percent(row.calls_saved)),
            Cell(_share(row.bytes_saved)),
            *([] if row.tokens_saved is None else [Cell(percent(row.tokens_saved))]),
            *_costs(row),
        ]
        for row in points
    ]
    return TextTable(f"{trace.name}: who answers", head, rows)


def _members(asked: float | None, members: int) -> str:
    """How many members were asked, of an ensemble."""
    return "" if asked is None or members == 1 else f"asking {asked:.2f} of {members}"


def _costs(row: PointRow) -> list[Cell]:
    cells = []
    for spent, times in ((row.flops, 1.0), (row.money, _MILLION)):
        if spent is None:
            continue
        detail = ""
        if spent.last_only:
            change = 1 - spent.cascade / spent.last_only
            detail = f"{percent(abs(change))} {'saved' if change >= 0 else 'more'}"
        cells.append(Cell(count(times * spent.cascade), detail))
    return cells


def _times(latency: Latency) -> list[Cell]:
    return [Cell(seconds(value)) for value in (latency.p50_s, latency.p95_s, latency.mean_s)]


def _named_thresholds(row: PointRow) -> str:
    return f"threshold{'s' if len(row.thresholds) > 1 else ''} {_thresholds(row.thresholds)}"


def _thresholds(thresholds: Iterable[float]) -> str:
    return ", ".join(f"{tau:.4g}" for tau in thresholds)


def _step(threshold: float) -> str:
    return "none goes on" if math.isinf(threshold) else f"{threshold:.4g}"


def _share(share: float | None) -> str:
    return _NONE if share is None else percent(share)
