"""The figures of a page about learning, drawn with plotly; knows no page and computes nothing."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from escalade.simulator.learning import EXPERT, LearnedRun
from escalade.simulator.palette import COLOURS, GREY, coloured
from escalade.simulator.report.plotted.plots import empty_figure

_HEIGHT = 300


def answered(run: LearnedRun) -> go.Figure:
    """Who answered what share of the items, over the stream."""
    figure = _over_the_stream("Share of the items")
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    figure.update_layout(legend_traceorder="normal")
    names = [level.name for level in run.levels if level.name != EXPERT]
    # A share is of the items before its point, the first one's of those from the beginning.
    items = [0, *(moment.items for moment in run.moments)]
    moments = [*run.moments[:1], *run.moments]
    for name, colour in [*coloured(names), (EXPERT, GREY)]:
        figure.add_scatter(
            x=items[: len(moments)],
            y=[moment.by.get(name, 0) / max(sum(moment.by.values()), 1) for moment in moments],
            mode="lines",
            stackgroup="all",
            name=html.escape(name),
            line={"width": 0.5, "color": colour, "shape": "vh"},
            hovertemplate="%{y:.1%} before %{x:,}",
        )
    return figure


def calls(run: LearnedRun) -> go.Figure:
    """Calls of the expert, over the stream."""
    figure = _over_the_stream("Calls")
    items = [0, *(moment.items for moment in run.moments)]
    figure.add_scatter(
        x=items,
        y=[0, *(moment.calls for moment in run.moments)],
        mode="lines",
        name="this run",
        line={"color": COLOURS[0], "width": 2.5},
        hovertemplate="%{y:,} of %{x:,}",
    )
    figure.add_scatter(
        x=[0, items[-1]],
        y=[0, items[-1]],
        mode="lines",
        name="the expert alone",
        line={"color": GREY, "dash": "dash", "width": 1.3},
        hoverinfo="skip",
    )
    return figure


def accuracy(run: LearnedRun) -> go.Figure:
    """Accuracy so far, and of late."""
    figure = _over_the_stream("Accuracy")
    figure.update_yaxes(tickformat=".0%")
    for name, values, line in (
        (
            "since the point before",
            [moment.recent_accuracy for moment in run.moments],
            {"color": COLOURS[5], "width": 1},
        ),
        (
            "so far",
            [moment.accuracy for moment in run.moments],
            {"color": COLOURS[0], "width": 2.5},
        ),
    ):
        figure.add_scatter(
            x=[moment.items for moment in run.moments],
            y=values,
            mode="lines",
            name=name,
            line=line,
            hovertemplate="%{y:.1%} after %{x:,}",
        )
    return figure


def agreement(run: LearnedRun) -> go.Figure:
    """What the audit says, over the stream, with its alarms."""
    figure = _over_the_stream("Agreement")
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02])
    figure.update_layout(legend_traceorder="normal")  # a filled band would turn it round
    found = [(moment.items, moment.agreement) for moment in run.moments if moment.agreement]
    items = [n for n, _ in found]
    for values, fill in (
        ([of.low for _, of in found], None),
        ([of.high for _, of in found], "tonexty"),
    ):
        figure.add_scatter(
            x=items,
            y=values,
            mode="lines",
            line={"width": 0, "color": COLOURS[2]},
            fill=fill,
            fillcolor="rgba(0,158,115,0.2)",
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=items,
        y=[of.estimate for _, of in found],
        customdata=[(of.low, of.high) for _, of in found],
        mode="lines",
        name="estimate",
        line={"color": COLOURS[2], "width": 2.5},
        hovertemplate="%{y:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%})",
    )
    for k, at in enumerate(run.alarms):
        figure.add_scatter(
            x=[at, at],
            y=[0, 1],
            mode="lines",
            name="alarm",
            showlegend=k == 0,
            line={"color": COLOURS[1], "dash": "dash", "width": 1.5},
            hovertemplate=f"alarm after {at:,}",
        )
    return figure


def accuracy_curves(runs: Sequence[LearnedRun]) -> go.Figure:
    """Accuracy against calls of the expert, each method's runs in their order."""
    return _curves(runs, "Accuracy", lambda run: run.accuracy)


def recall_curves(runs: Sequence[LearnedRun], label: str) -> go.Figure:
    """Recall of one class against calls of the expert."""
    return _curves(runs, "Recall", lambda run: run.recall.get(label))


def _curves(
    runs: Sequence[LearnedRun], title: str, of: Callable[[LearnedRun], float | None]
) -> go.Figure:
    figure = empty_figure("Calls of the expert, share of the items", title, height=_HEIGHT)
    figure.update_xaxes(tickformat=".1~%", nticks=6)
    figure.update_yaxes(tickformat=".1~%")
    for method, colour in coloured(dict.fromkeys(run.method for run in runs)):
        points = sorted(
            (run.calls / max(run.items, 1), value, run.name)
            for run in runs
            if run.method == method and (value := of(run)) is not None
        )
        figure.add_scatter(
            x=[share for share, _, _ in points],
            y=[value for _, value, _ in points],
            customdata=[html.escape(name) for _, _, name in points],
            mode="lines+markers",
            name=html.escape(method),
            line={"color": colour, "width": 2},
            hovertemplate="%{customdata}: %{y:.1%} with %{x:.1%} of the calls",
        )
    return figure


def _over_the_stream(title: str) -> go.Figure:
    figure = empty_figure("Items", title, height=_HEIGHT)
    figure.update_xaxes(tickformat="~s", rangemode="tozero", nticks=6)
    return figure
