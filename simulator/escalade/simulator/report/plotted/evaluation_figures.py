"""The figures of an evaluation's page, drawn with plotly; knows no page and computes nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from escalade.simulator.evaluation import CurvePoints, Evaluation, Slice
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.report.plotted.plots import empty_figure

_HEIGHT = 440
_SMALL_HEIGHT = 300


def deferral_curves(evaluation: Evaluation, part: Slice, *, small: bool = False) -> go.Figure:
    """Quality against cost under the first rule: figures 2, 3 and 8 to 12 of the CAT paper."""
    chosen = [curve for curve in part.curves if curve.rule == evaluation.rules[0]]
    figure = _axes(evaluation, small=small)
    for (_, colour), curve in zip(coloured(evaluation.groups), chosen, strict=True):
        _band(figure, curve, colour)
        _limits(figure, curve, colour)
        _line(figure, curve, curve.quality, html.escape(curve.group), colour, legend=not small)
    if not small:
        _legend_of_limits(figure)
    return figure


def rules(evaluation: Evaluation, part: Slice, group: str) -> go.Figure:
    """One group under every rule: figure 6 of the CAT paper."""
    chosen = [curve for curve in part.curves if curve.group == group]
    figure = _axes(evaluation, small=False)
    figure.update_layout(height=360)
    _limits(figure, chosen[0], GREY, legend=True)
    for (rule, colour), curve in zip(coloured(evaluation.rules), chosen, strict=True):
        _line(figure, curve, curve.quality, html.escape(rule), colour)
    return figure


def parts(evaluation: Evaluation, part: Slice) -> go.Figure:
    """A1 and A2 against the deferral rate: figure 4 of the CAT paper."""
    chosen = [curve for curve in part.curves if curve.rule == evaluation.rules[0]]
    figure = empty_figure("Deferral rate", "Share of all queries", height=400)
    figure.update_xaxes(tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    for (name, colour), curve in zip(coloured(evaluation.groups), chosen, strict=True):
        for label, values, dash in (("A1", curve.a1, "solid"), ("A2", curve.a2, "dash")):
            figure.add_scatter(
                x=curve.deferral_rate,
                y=values,
                mode="lines",
                name=f"{html.escape(name)}, {label}",
                line={"color": colour, "dash": dash, "width": 2},
                hovertemplate="%{y:.1%}",
            )
    return figure


def _axes(evaluation: Evaluation, *, small: bool) -> go.Figure:
    metric, cost = evaluation.metric, evaluation.cost
    unit = f" ({cost.unit})" if cost.unit else ""
    reversed_axis = " (reversed)" if small else " (axis reversed: up is better)"
    better = "" if metric.higher_is_better else reversed_axis
    figure = empty_figure(
        cost.label + unit,
        metric.label + better,
        height=_SMALL_HEIGHT if small else _HEIGHT,
    )
    figure.update_layout(legend_traceorder="normal")  # a filled band would turn it round
    figure.update_xaxes(tickformat="~s" if cost.unit else ".0%")
    if small:
        figure.update_xaxes(nticks=5)
    if metric.is_share:
        figure.update_yaxes(tickformat=".1~%")
    if not metric.higher_is_better:
        figure.update_yaxes(autorange="reversed")
    return figure


def _line(
    figure: go.Figure,
    curve: CurvePoints,
    values: Sequence[float | None],
    name: str,
    colour: str,
    *,
    legend: bool = True,
) -> None:
    figure.add_scatter(
        x=curve.cost,
        y=values,
        mode="lines",
        name=name,
        showlegend=legend,
        line={"color": colour, "width": 2.5},
        customdata=curve.deferral_rate,
        hovertemplate="%{y:.4~g} at %{x:.4~s}<br>deferral rate %{customdata:.1%}",
    )


def _band(figure: go.Figure, curve: CurvePoints, colour: str) -> None:
    """From the lowest to the highest seed."""
    if curve.lowest is None or curve.highest is None:
        return
    for values, fill in ((curve.lowest, None), (curve.highest, "tonexty")):
        figure.add_scatter(
            x=curve.cost,
            y=values,
            mode="lines",
            line={"width": 0, "color": colour},
            fill=fill,
            fillcolor=_faint(colour),
            showlegend=False,
            hoverinfo="skip",
        )


def _limits(figure: go.Figure, curve: CurvePoints, colour: str, *, legend: bool = False) -> None:
    """Random deferral beneath, the oracle above."""
    for cost, values, dash, name in (
        (curve.random_cost, curve.random, "dot", "random deferral"),
        (curve.oracle_cost, curve.oracle, "dash", "oracle"),
    ):
        figure.add_scatter(
            x=cost,
            y=values,
            mode="lines",
            name=name,
            showlegend=legend,
            line={"color": colour, "dash": dash, "width": 1.3},
            hoverinfo="skip",
        )


def _legend_of_limits(figure: go.Figure) -> None:
    """What holds for every group gets one entry in the legend, in no group's colour."""
    for dash, name in (("dash", "oracle"), ("dot", "random deferral")):
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name=name, line={"color": GREY, "dash": dash}
        )


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
