"""Figures for a paper about cascades that learned from streams; computes nothing, knows no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from escalade.simulator.learning import EXPERT, LearnedRun
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.paper.drawing import (
    DASHES,
    STYLE,
    draw_legend,
    legend_label,
    panel_grid,
    percent_ticks,
    save,
)


def write_learning_figures(
    folder: Path,
    compared: Mapping[str, Sequence[LearnedRun]],
    courses: Mapping[str, LearnedRun],
) -> list[Path]:
    """Write figures with a panel for each stream; returns the files.

    Args:
        folder: where to.
        compared: by stream, runs to hold against each other: `curves`, accuracy against calls
            (figures 3 and 4 of the paper).
        courses: by stream, a run with moments: `answered` (figures 5 to 8).
    """
    with rc_context(STYLE):
        drawn = {"curves": _curves(compared), "answered": _answered(courses)}
        return [path for name, figure in drawn.items() for path in save(folder / name, figure)]


def _curves(compared: Mapping[str, Sequence[LearnedRun]]) -> Figure:
    figure, panels = panel_grid(len(compared))
    methods = dict.fromkeys(run.method for runs in compared.values() for run in runs)
    seen = {}
    for axes, (title, runs) in zip(panels, compared.items(), strict=True):
        for k, (method, colour) in enumerate(coloured(methods)):
            points = sorted(
                (run.calls / max(run.items, 1), run.accuracy)
                for run in runs
                if run.method == method and run.accuracy is not None
            )
            if points:
                (seen[method],) = axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    linestyle=DASHES[k % len(DASHES)],
                    marker="o",
                    markersize=2.5,
                    label=legend_label(method),
                )
        _name(axes, title, "Share deferred to the expert", "Accuracy")
        axes.xaxis.set_major_formatter(percent_ticks())
    draw_legend(figure, seen.values())
    return figure


def _answered(courses: Mapping[str, LearnedRun]) -> Figure:
    figure, panels = panel_grid(len(courses))
    levels = dict.fromkeys(
        level.name for run in courses.values() for level in run.levels if level.name != EXPERT
    )
    colours = [*coloured(levels), (EXPERT, GREY)]
    for axes, (title, run) in zip(panels, courses.items(), strict=True):
        axes.stackplot(
            [moment.items for moment in run.moments],
            *(
                [moment.by.get(name, 0) / max(sum(moment.by.values()), 1) for moment in run.moments]
                for name, _ in colours
            ),
            colors=[colour for _, colour in colours],
            alpha=0.5,
            linewidth=0,
        )
        lines = [
            axes.plot([], [], color=colour, linewidth=4, alpha=0.5, label=legend_label(name))[0]
            for name, colour in colours
        ]
        axes.plot(
            [moment.items for moment in run.moments],
            [float("nan") if m.accuracy is None else m.accuracy for m in run.moments],
            color="black",
            label="accuracy so far",
        )
        lines.append(axes.lines[-1])
        axes.set_ylim(0, 1)
        _name(axes, title, "Items", "Share of the items")
    draw_legend(figure, lines)
    return figure


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.yaxis.set_major_formatter(percent_ticks())
