"""Figures of an evaluation, for a paper (PNG, SVG) and for its page; computes nothing.

Drawn with matplotlib, sized for a column of a two-column page, text in points as it will be
printed. A file's glyphs are outlines, so that an SVG needs no font. Nothing here touches a display
or matplotlib's global state, and the same evaluation gives the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from escalade.simulator.evaluation import Evaluation, Slice, quality_form
from escalade.simulator.formats import seconds
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.paper.drawing import (
    COLUMN,
    DASHES,
    STYLE,
    draw_curves,
    draw_legend,
    draw_limits,
    draw_line,
    legend_label,
    limit_handles,
    name_axes,
    panel_grid,
    percent_ticks,
    plottable,
    save,
    share_labels,
    under_rule,
)

#: So much wider than the largest artifact, whose dot is to be whole.
_ROOM = 1.06
#: Colours come round after seven, these after five.
_MARKS = "os^Dv"
#: Inches.
_LEGEND_ROW = 0.13


def write_figures(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write every figure the evaluation has something to show in; returns the files.

    `deferral-curve` always; `a1-a2` for a mean metric; `rules` for several rules; `tasks` where
    tasks were evaluated by themselves; `on-device` where artifacts were given.
    """
    figures = evaluation_figures(evaluation)
    with rc_context(STYLE):
        return [path for name, figure in figures.items() for path in save(folder / name, figure)]


def evaluation_figures(evaluation: Evaluation, *, apart: bool = False) -> dict[str, Figure]:
    """By name, as `write_figures` has them.

    Args:
        evaluation: what is drawn.
        apart: each panel as a figure without its title: `rules-K` and `task-K`, from 0.
    """
    whole, tasks = evaluation.slices[0], evaluation.slices[1:]
    groups = list(evaluation.groups) if len(evaluation.rules) > 1 else []
    with rc_context(STYLE):
        drawn = {"deferral-curve": _deferral_curve(evaluation, whole)}
        if whole.curves[0].a1 is not None:
            drawn["a1-a2"] = _parts(evaluation, whole)
        if apart:
            panels = {f"rules-{k}": _rules(evaluation, whole, [of]) for k, of in enumerate(groups)}
            panels |= {f"task-{k}": _tasks(evaluation, [of]) for k, of in enumerate(tasks)}
            for panel in panels.values():
                panel.axes[0].set_title("")
            drawn |= panels
        else:
            drawn |= {"rules": _rules(evaluation, whole, groups)} if groups else {}
            drawn |= {"tasks": _tasks(evaluation, tasks)} if tasks else {}
        if evaluation.on_device:
            drawn["on-device"] = _on_device(evaluation)
        return drawn


def _deferral_curve(evaluation: Evaluation, whole: Slice) -> Figure:
    figure = Figure((COLUMN, 2.3), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, evaluation, whole)
    name_axes(axes, evaluation)
    draw_legend(figure, [*axes.lines, *limit_handles()])
    return figure


def _parts(evaluation: Evaluation, whole: Slice) -> Figure:
    """Figure 4 of the CAT paper."""
    figure = Figure((COLUMN, 2.3), layout="constrained")
    axes = figure.subplots()
    chosen = under_rule(whole, evaluation.rules[0])
    for (name, colour), curve in zip(coloured(evaluation.groups), chosen, strict=True):
        for part, values, dash in (("A1", curve.a1, DASHES[0]), ("A2", curve.a2, DASHES[1])):
            axes.plot(
                curve.deferral_rate,
                plottable(values or []),
                color=colour,
                linestyle=dash,
                label=legend_label(f"{name}, {part}"),
            )
    axes.set(xlabel="Deferral rate", ylabel="Share of all queries", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent_ticks())
    draw_legend(figure, axes.lines)
    return figure


def _rules(evaluation: Evaluation, whole: Slice, groups: Sequence[str]) -> Figure:
    """Figure 6 of the CAT paper: a panel for each group."""
    figure, panels = panel_grid(len(groups))
    for axes, group in zip(panels, groups, strict=True):
        chosen = [curve for curve in whole.curves if curve.group == group]
        draw_limits(axes, chosen[0], GREY)
        for k, ((rule, colour), curve) in enumerate(
            zip(coloured(evaluation.rules), chosen, strict=True)
        ):
            draw_line(axes, curve, colour, k, rule)
        name_axes(axes, evaluation)
        axes.set_title(group)
    share_labels(figure, panels)
    return figure


def _tasks(evaluation: Evaluation, tasks: Sequence[Slice]) -> Figure:
    """Figures 8 to 12 of the CAT paper: a panel for each task, its queries in the title."""
    figure, panels = panel_grid(len(tasks))
    for axes, part in zip(panels, tasks, strict=True):
        draw_curves(axes, evaluation, part)
        name_axes(axes, evaluation)
        axes.set_title(f"{part.task} ({part.queries:,})")
    share_labels(figure, panels)
    return figure


def _on_device(evaluation: Evaluation) -> Figure:
    """Calls that are left against bytes, with their intervals; the legend has the other two."""
    rows = evaluation.on_device
    figure = Figure((COLUMN, 2.1 + _LEGEND_ROW * len(rows)), layout="constrained")
    axes = figure.subplots()
    quality = quality_form(evaluation.metric)
    named = zip(rows, coloured(evaluation.groups), cycle(_MARKS), strict=False)
    for row, (name, colour), mark in named:
        calls, alone = row.calls_to_match, quality.value(row.small_quality.value)
        label = legend_label(f"{name}: {alone} alone, {seconds(row.seconds)}")
        axes.plot(
            [row.bytes],
            plottable([calls.value]),
            color=colour,
            marker=mark,
            linestyle="none",
            clip_on=False,
            label=label,
        )
        axes.plot([row.bytes] * 2, plottable([calls.low, calls.high]), color=colour)
    axes.set(xlabel="Bytes of the artifact", ylabel="Calls to match the large model")
    axes.set_xlim(0, _ROOM * max(row.bytes for row in rows))
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
    axes.yaxis.set_major_formatter(percent_ticks())
    draw_legend(figure, axes.lines)
    return figure
