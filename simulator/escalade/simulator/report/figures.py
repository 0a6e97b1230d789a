"""The figures of a replay's report, drawn with plotly; knows no page and computes nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from escalade.simulator.curves import Floats
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.replay import Replay, Study
from escalade.simulator.report.page import empty_figure

#: Numbers along a line; None leaves a gap, or the whole line out.
Line = Floats | Sequence[float | None] | None

_DASHES = ("solid", "dash", "dot", "dashdot")

#: Steps of a drawn distribution function; more cannot be told apart on a screen.
_ECDF_STEPS = 400

_PERCENT = ".1~%"
_HOVER = "deferral rate %{customdata[0]:.1%}<br>threshold %{customdata[1]:.4g}"


def quality_against_flops(study: Study) -> go.Figure:
    """Quality against FLOPs per token: figures 2 and 3 of the CAT paper."""
    figure = empty_figure("Compute per token (FLOPs)", "Accuracy", height=440)
    figure.update_xaxes(tickformat="~s")
    figure.update_yaxes(tickformat=_PERCENT)
    _draw_quality(figure, study, against_flops=True)
    return figure


def quality_against_deferral_rate(study: Study) -> go.Figure:
    """Quality against the share of queries sent to the large model."""
    figure = empty_figure("Deferral rate", "Accuracy", height=400)
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=_PERCENT)
    _draw_quality(figure, study, against_flops=False)
    return figure


def shares_against_deferral_rate(study: Study) -> go.Figure:
    """A1 and A2 against the deferral rate: figure 4 of the CAT paper."""
    curves = study.curves
    figure = parts_figure((n, c.deferral_rate, c.a1, c.a2) for n, c in curves.items())
    # A1 falls from the one end of the quality, A2 rises to the other.
    most = max(float(max(c.quality[0], c.quality[-1])) for c in curves.values())
    figure.update_yaxes(range=[-0.02, most + 0.02])
    return figure


def parts_figure(named: Iterable[tuple[str, Line, Line, Line]]) -> go.Figure:
    """Deferral rate, A1 and A2 of each name, drawn against the first."""
    figure = empty_figure("Deferral rate", "Share of all queries", height=400)
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    lines = {name: parts for name, *parts in named}
    for name, colour in coloured(lines):
        rates, *parts = lines[name]
        for label, values, dash in zip(("A1", "A2"), parts, ("solid", "dash"), strict=True):
            figure.add_scatter(
                x=rates,
                y=values,
                mode="lines",
                name=f"{html.escape(name)}, {label}",
                line={"color": colour, "dash": dash, "width": 2},
                hovertemplate="%{y:.1%}",
            )
    return figure


def latency_distributions(study: Study) -> dict[str, go.Figure]:
    """One distribution function of latency for each profile, all on the same axes."""
    seconds = np.concatenate([run.cascade_s for _, run in study.replays])
    most = max(run.cloud_only_s.max() for _, run in study.replays)
    span = [np.log10(max(seconds.min(), 1e-6)) - 0.1, np.log10(max(most, seconds.max())) + 0.1]
    colours = dict(coloured(study.curves))
    baseline = next(iter(study.curves))
    figures = {}
    for profile in study.profiles:
        figure = empty_figure("Latency (log scale)", "Queries answered", height=300)
        figure.update_xaxes(
            type="log", range=span, tickformat="~s", ticksuffix="s", dtick=1, minor_showgrid=False
        )
        figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02])
        runs = [(name, run) for name, run in study.replays if run.profile == profile]
        _draw_ecdf(
            figure,
            _first_of(runs, baseline).cloud_only_s,
            "cloud only",
            {"color": GREY, "width": 2, "dash": "4px,2px"},
        )
        for name, run in runs:
            thresholds = [point.threshold for point in study.points[name]]
            k = thresholds.index(run.threshold)
            label = "cascade" if len(study.curves) == 1 else html.escape(name)
            if len(thresholds) > 1:
                label += f", threshold {run.threshold:.3g}"
            dash = _DASHES[k % len(_DASHES)]
            line = {"color": colours[name], "width": 2, "dash": dash}
            _draw_ecdf(figure, run.cascade_s, label, line)
        figures[profile.name] = figure
    return figures


def _first_of(runs: Sequence[tuple[str, Replay]], name: str) -> Replay:
    return next(run for other, run in runs if other == name)


def _draw_quality(figure: go.Figure, study: Study, *, against_flops: bool) -> None:
    """The deferral curve of each trace, its random-deferral line and its thresholds."""
    for name, colour in coloured(study.curves):
        curve, points = study.curves[name], study.points[name]
        xs = curve.cost if against_flops else curve.deferral_rate
        at = [p.flops_per_token if against_flops else p.deferral_rate for p in points]
        ends = [0, -1]
        figure.add_scatter(
            x=xs[ends],
            y=curve.quality[ends],
            mode="lines",
            showlegend=False,
            line={"color": colour, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=xs,
            y=curve.quality,
            mode="lines",
            name=html.escape(name),
            line={"color": colour, "width": 2.5},
            customdata=np.column_stack([curve.deferral_rate, curve.threshold]),
            hovertemplate="accuracy %{y:.1%}<br>" + _HOVER,
        )
        figure.add_scatter(
            x=at,
            y=[point.quality for point in points],
            mode="markers",
            name=html.escape(name),
            showlegend=False,
            marker={"color": colour, "size": 11, "line": {"color": "white", "width": 2}},
            customdata=[[point.deferral_rate, point.threshold] for point in points],
            hovertemplate="accuracy %{y:.1%}<br>" + _HOVER,
        )
    # What holds for every trace gets one entry in the legend, in no trace's colour.
    nowhere: dict[str, list[None]] = {"x": [None], "y": [None]}
    figure.add_scatter(
        **nowhere, mode="markers", name="chosen threshold", marker={"color": GREY, "size": 11}
    )
    figure.add_scatter(
        **nowhere,
        mode="lines",
        name="random deferral",
        line={"color": GREY, "dash": "dot", "width": 1.5},
    )


def _draw_ecdf(figure: go.Figure, seconds: Floats, label: str, line: dict[str, object]) -> None:
    """The empirical distribution function of latencies `(N,)`, as steps."""
    share = np.linspace(0, 1, min(len(seconds), _ECDF_STEPS) + 1)
    figure.add_scatter(
        x=np.quantile(seconds, share, method="inverted_cdf"),
        y=share,
        mode="lines",
        name=label,
        line={"shape": "hv", **line},
        hovertemplate="%{y:.0%} within %{x:.3s}s",
    )
