"""The figures of a simulation's page, drawn with plotly; knows no page and computes nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from escalade.simulator.palette import GREY, coloured
from escalade.simulator.recorded import Floats
from escalade.simulator.replay import Replay, Simulation, Summary
from escalade.simulator.report.page import empty_figure

_DASHES = ("solid", "dash", "dot", "dashdot")

#: Steps of a drawn distribution function; more cannot be told apart on a screen.
_ECDF_STEPS = 400

#: Pixels of a latency figure, and of each line of a phone's legend beyond so many.
_LATENCY = 300
_LEGEND_LINE = 18
_LEGEND_LINES = 3

#: Pixels of a bar with its gap, and of what stands around all of them.
_BAR = 34
_AROUND = 90
#: Room for what hangs over the right end of the axis: half of `100%`.
_HALF_A_TICK = 22


def answered_shares(summary: Summary) -> go.Figure:
    """Which tier answers what share of the queries: a bar for each choice of thresholds."""
    figure = empty_figure("Share of the queries", "", height=_AROUND + _BAR * len(summary.points))
    figure.update_xaxes(tickformat=".0%", range=[0, 1], dtick=0.25)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticksuffix=" ")
    figure.update_layout(
        barmode="stack", bargap=0.25, legend_traceorder="normal", margin={"r": _HALF_A_TICK}
    )
    several = len(summary.traces) > 1
    labels = [
        html.escape(_label(row.trace, row.thresholds, several=several)) for row in summary.points
    ]
    names = dict.fromkeys(tier.name for row in summary.points for tier in row.tiers)
    for name, colour in coloured(names):
        shares = [
            next((tier.answered for tier in row.tiers if tier.name == name), 0.0)
            for row in summary.points
        ]
        figure.add_bar(
            x=shares,
            y=labels,
            orientation="h",
            name=html.escape(name),
            marker={"color": colour},
            hovertemplate="%{x:.1%}",
        )
    return figure


def latency_distributions(simulation: Simulation) -> list[go.Figure]:
    """One distribution function of latency for each network, all on the same axes."""
    runs = [(name, run, run.cascade_s) for name, run in simulation.replays]
    last_only = [run.course.last_only_s for _, run, _ in runs]
    least = min(float(seconds.min()) for _, _, seconds in runs)
    most = max(float(seconds.max()) for seconds in (*last_only, *(s for _, _, s in runs)))
    span = [np.log10(max(least, 1e-6)) - 0.1, np.log10(max(most, 1e-6)) + 0.1]
    return [
        _distributions(simulation, [run for run in runs if run[1].course.network == network], span)
        for network in simulation.networks
    ]


def _distributions(
    simulation: Simulation, runs: Sequence[tuple[str, Replay, Floats]], span: Sequence[float]
) -> go.Figure:
    """The cascades on one network, and of each trace the last tier only."""
    lines = len(runs) + len(simulation.summary.traces)
    height = _LATENCY + _LEGEND_LINE * max(0, lines - _LEGEND_LINES)
    figure = empty_figure("Latency (log scale)", "Queries answered", height=height)
    figure.update_xaxes(
        type="log", range=span, tickformat="~s", ticksuffix="s", dtick=1, minor_showgrid=False
    )
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02])
    names = [row.name for row in simulation.summary.traces]
    several = len(names) > 1
    for row, (name, colour) in zip(simulation.summary.traces, coloured(names), strict=True):
        own = [(run, seconds) for other, run, seconds in runs if other == name]
        label = f"{row.tiers[-1].name} only"
        line: dict[str, object] = {"color": colour if several else GREY, "dash": "4px,2px"}
        _draw_ecdf(
            figure,
            own[0][0].course.last_only_s,
            f"{name}, {label}" if several else label,
            {**line, "width": 1.5},
        )
        for k, (run, seconds) in enumerate(own):
            label = _label(name, run.thresholds if len(own) > 1 else (), several=several)
            dash = _DASHES[k % len(_DASHES)]
            _draw_ecdf(
                figure, seconds, label or "cascade", {"color": colour, "width": 2, "dash": dash}
            )
    return figure


def _label(name: str, thresholds: Iterable[float], *, several: bool) -> str:
    """What tells one trace and its thresholds from the others; escaped by who draws it."""
    taus = ", ".join(f"{tau:.3g}" for tau in thresholds)
    return ": ".join(part for part in (name if several else "", taus) if part)


def _draw_ecdf(figure: go.Figure, seconds: Floats, label: str, line: dict[str, object]) -> None:
    """The empirical distribution function of latencies `(N,)`, as steps."""
    share = np.linspace(0, 1, min(len(seconds), _ECDF_STEPS) + 1)
    figure.add_scatter(
        x=np.quantile(seconds, share, method="inverted_cdf"),
        y=share,
        mode="lines",
        name=html.escape(label),
        line={"shape": "hv", **line},
        hovertemplate="%{y:.0%} within %{x:.3s}s",
    )
