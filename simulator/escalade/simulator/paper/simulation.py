"""Figures of a simulation, for a paper and for its page; computes no latency, knows no page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from escalade.simulator.palette import GREY, coloured
from escalade.simulator.paper.drawing import (
    COLUMN,
    DASHES,
    STYLE,
    draw_legend,
    legend_label,
    percent_ticks,
    room_around,
    save,
    seconds_ticks,
)
from escalade.simulator.recorded import Floats
from escalade.simulator.replay import GateCurve, Replay, Simulation, curves_of

#: Steps of a drawn distribution function; more cannot be told apart.
_STEPS = 400
_HEIGHT = 2.3


def write_simulation_figures(folder: Path, simulation: Simulation) -> list[Path]:
    """Write every figure of a simulation as PNG and SVG; returns the files."""
    figures = simulation_figures(simulation)
    with rc_context(STYLE):
        return [path for name, figure in figures.items() for path in save(folder / name, figure)]


def simulation_figures(simulation: Simulation) -> dict[str, Figure]:
    """By name: `curve` where answers were judged, and for each network `latency-K`, from 0.

    Lines that a page moves have an id: `gate-TRACE-GATE`, from 0.
    """
    with rc_context(STYLE):
        found = {}
        curves = curves_of(simulation)
        if all(curve.accuracy is not None for gates in curves.values() for curve in gates):
            found["curve"] = _curves(simulation, curves)
        span = _span(simulation)
        for k, network in enumerate(simulation.networks):
            runs = [run for run in simulation.replays if run[1].course.network == network]
            found[f"latency-{k}"] = _latency(simulation, runs, span)
    return found


def _curves(simulation: Simulation, curves: dict[str, list[GateCurve]]) -> Figure:
    """Right answers against calls: a line for each gate, a dot for each choice of thresholds."""
    figure = Figure((COLUMN, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    several = len(curves) > 1
    reach: list[float] = []
    for place, (row, (name, colour)) in enumerate(
        zip(simulation.summary.traces, coloured(curves), strict=True)
    ):
        before = f"{name}: " if several else ""
        for gate, curve in enumerate(curves[name]):
            accuracy = [] if curve.accuracy is None else curve.accuracy.tolist()
            (line,) = axes.plot(
                curve.calls,
                accuracy,
                color=colour,
                linestyle=DASHES[gate % len(DASHES)],
                label=legend_label(f"{before}gate after {row.tiers[gate].name}"),
            )
            line.set_gid(f"gate-{place}-{gate}")
            reach += accuracy
        for point in simulation.summary.points:
            if point.trace == name and point.accuracy is not None:
                calls = 1 - point.calls_saved
                axes.plot([calls], [point.accuracy], "o", color=colour, markersize=3)
        alone = row.tiers[-1].accuracy
        if alone is not None:
            axes.axhline(
                alone,
                color=colour if several else GREY,
                linewidth=0.8,
                linestyle=(0, (2, 2)),
                label=legend_label(f"{before}{row.tiers[-1].name} only"),
            )
            reach.append(alone)
    axes.set(xlabel="Queries that go to the last tier", ylabel="Right answers")
    axes.set(xlim=(-0.02, 1.02), ylim=room_around(reach))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent_ticks())
    draw_legend(figure, axes.lines)
    return figure


def _latency(
    simulation: Simulation, runs: Sequence[tuple[str, Replay]], span: tuple[float, float]
) -> Figure:
    """The cascades on one network, and of each trace the last tier only."""
    figure = Figure((COLUMN, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    traces = simulation.summary.traces
    several = len(traces) > 1
    for row, (name, colour) in zip(traces, coloured(one.name for one in traces), strict=True):
        own = [replay for trace, replay in runs if trace == name]
        before = f"{name}, " if several else ""
        for k, replay in enumerate(own):
            taus = ", ".join(f"{tau:.3g}" for tau in replay.thresholds)
            _draw_ecdf(axes, replay.cascade_s, f"{before}{taus}", colour, DASHES[k % len(DASHES)])
        last, dashes = f"{before}{row.tiers[-1].name} only", (0, (2, 2))
        _draw_ecdf(axes, own[0].course.last_only_s, last, colour if several else GREY, dashes)
    axes.set(xlabel="Latency", ylabel="Queries answered", xscale="log")
    axes.set(xlim=span, ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(seconds_ticks())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(percent_ticks())
    draw_legend(figure, axes.lines)
    return figure


def _draw_ecdf(
    axes: Axes,
    seconds: Floats,
    label: str,
    colour: str,
    dashes: str | tuple[int, tuple[float, ...]],
) -> None:
    """The empirical distribution function of latencies `(N,)`, as steps."""
    share = np.linspace(0, 1, min(len(seconds), _STEPS) + 1)
    axes.step(
        np.quantile(seconds, share, method="inverted_cdf"),
        share,
        where="post",
        color=colour,
        linestyle=dashes,
        label=legend_label(label),
    )


def _span(simulation: Simulation) -> tuple[float, float]:
    """Of every latency that there is under any thresholds, the same for all networks."""
    courses = [replay.course for _, replay in simulation.replays]
    least = min(float(min(course.seconds[0].min(), course.last_only_s.min())) for course in courses)
    most = max(
        float(max(sum(tier.max(axis=0) for tier in course.seconds).max(), course.last_only_s.max()))
        for course in courses
    )
    return max(least, 1e-6) / 1.2, max(most, 1e-6) * 1.2
