"""Figures of cascades that learned from streams, for a paper and their page; computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from escalade.simulator.learning import EXPERT, LearnedRun, Moment
from escalade.simulator.palette import COLOURS, GREY, coloured
from escalade.simulator.paper.drawing import (
    COLUMN,
    DASHES,
    STYLE,
    count_ticks,
    draw_legend,
    legend_label,
    panel_grid,
    percent_ticks,
    plottable,
    room_around,
    save,
)

_HEIGHT = 2.0
_THIN = 0.7


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
        drawn = {"curves": _curves(compared), "answered": _courses(courses)}
        return [path for name, figure in drawn.items() for path in save(folder / name, figure)]


def learning_figures(run: LearnedRun, beside: Sequence[LearnedRun] = ()) -> dict[str, Figure]:
    """By name: `answered` and `calls`; `accuracy` and `agreement` where they are known.

    Beside other runs over the same stream `curve`, accuracy against calls, and `recall-K` of each
    class, from 0, that was right in one of them.
    """
    runs = [run, *beside]
    with rc_context(STYLE):
        found = {"answered": _answered(run), "calls": _calls(run)}
        if run.accuracy is not None:
            found["accuracy"] = _accuracy(run)
        if run.agreement is not None:
            found["agreement"] = _agreement(run)
        compared: dict[str, str | None] = {"curve": None}
        compared |= {f"recall-{k}": label for k, label in enumerate(run.labels)}
        for name, label in compared.items() if beside else ():
            if any(one.quality(label) is not None for one in runs):
                found[name] = _against_calls(runs, label)
        return found


def _curves(compared: Mapping[str, Sequence[LearnedRun]]) -> Figure:
    figure, panels = panel_grid(len(compared))
    methods = dict.fromkeys(run.method for runs in compared.values() for run in runs)
    seen = dict[str, Line2D]()
    for axes, (title, runs) in zip(panels, compared.items(), strict=True):
        seen |= _draw_methods(axes, runs, methods)
        axes.set_title(title)
        _name(axes, "Share deferred to the expert", "Accuracy")
        axes.xaxis.set_major_formatter(percent_ticks())
    draw_legend(figure, seen.values())
    return figure


def _against_calls(runs: Sequence[LearnedRun], label: str | None) -> Figure:
    figure, axes = _empty()
    methods = dict.fromkeys(run.method for run in runs)
    draw_legend(figure, _draw_methods(axes, runs, methods, label).values())
    _name(axes, "Calls of the expert, of the items", "Accuracy" if label is None else "Recall")
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.set_ylim(room_around(run.quality(label) for run in runs))
    return figure


def _draw_methods(
    axes: Axes, runs: Sequence[LearnedRun], methods: Iterable[str], label: str | None = None
) -> dict[str, Line2D]:
    """A line through the runs of each method; returns those that there are."""
    seen = dict[str, Line2D]()
    for k, (method, colour) in enumerate(coloured(methods)):
        points = sorted(
            (run.calls / max(run.items, 1), value)
            for run in runs
            if run.method == method and (value := run.quality(label)) is not None
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
    return seen


def _courses(courses: Mapping[str, LearnedRun]) -> Figure:
    figure, panels = panel_grid(len(courses))
    colours = _level_colours(courses.values())
    for axes, (title, run) in zip(panels, courses.items(), strict=True):
        lines = _draw_shares(axes, _items(run), run.moments, colours)
        axes.plot(
            _items(run),
            plottable([moment.accuracy for moment in run.moments]),
            color="black",
            label="accuracy so far",
        )
        lines.append(axes.lines[-1])
        axes.set_title(title)
        _name(axes, "Items", "Share of the items")
    draw_legend(figure, lines)
    return figure


def _answered(run: LearnedRun) -> Figure:
    """A share is of the items before its moment, the first one's of those from the beginning."""
    figure, axes = _over_the_stream(run, "Share of the items")
    items, moments = [0, *_items(run)], [*run.moments[:1], *run.moments]
    draw_legend(
        figure,
        _draw_shares(axes, items[: len(moments)], moments, _level_colours([run]), step="pre"),
    )
    return figure


def _draw_shares(
    axes: Axes,
    items: Sequence[int],
    moments: Sequence[Moment],
    colours: Sequence[tuple[str, str]],
    step: Literal["pre"] | None = None,
) -> list[Line2D]:
    """Who answered, one above the other; returns a line for each, for the legend."""
    axes.stackplot(
        items,
        *(
            [moment.by.get(name, 0) / max(sum(moment.by.values()), 1) for moment in moments]
            for name, _ in colours
        ),
        colors=[colour for _, colour in colours],
        alpha=0.5,
        linewidth=0,
        step=step,
    )
    axes.set_ylim(0, 1)
    return [
        axes.plot([], [], color=colour, linewidth=4, alpha=0.5, label=legend_label(name))[0]
        for name, colour in colours
    ]


def _calls(run: LearnedRun) -> Figure:
    figure, axes = _over_the_stream(run, "Calls of the expert")
    calls = [0, *(moment.calls for moment in run.moments)]
    axes.plot([0, *_items(run)], calls, color=COLOURS[0], label="this run")
    alone = [0, *_items(run)[-1:]]
    axes.plot(
        alone, alone, color=GREY, linestyle=DASHES[1], linewidth=_THIN, label="the expert alone"
    )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(count_ticks())
    draw_legend(figure, axes.lines)
    return figure


def _accuracy(run: LearnedRun) -> Figure:
    figure, axes = _over_the_stream(run, "Accuracy")
    recent = [moment.recent_accuracy for moment in run.moments]
    so_far = [moment.accuracy for moment in run.moments]
    items, label = _items(run), "since the point before"
    axes.plot(items, plottable(recent), color=COLOURS[5], linewidth=_THIN, label=label)
    axes.plot(items, plottable(so_far), color=COLOURS[0], label="so far")
    axes.set_ylim(room_around(recent + so_far))
    draw_legend(figure, axes.lines)
    return figure


def _agreement(run: LearnedRun) -> Figure:
    """What the audit says, within its interval, and its alarms."""
    figure, axes = _over_the_stream(run, "Agreement")
    found = [(moment.items, moment.agreement) for moment in run.moments if moment.agreement]
    items = [n for n, _ in found]
    low, high = [of.low for _, of in found], [of.high for _, of in found]
    axes.fill_between(items, low, high, color=COLOURS[2], alpha=0.2, linewidth=0)
    axes.plot(
        items, plottable([of.estimate for _, of in found]), color=COLOURS[2], label="estimate"
    )
    for k, at in enumerate(run.alarms):
        label = "_" * (k > 0) + "alarm"
        axes.axvline(at, color=COLOURS[1], linestyle=DASHES[1], linewidth=1, label=label)
    axes.set_ylim(-0.02, 1.02)
    draw_legend(figure, axes.lines)
    return figure


def _over_the_stream(run: LearnedRun, label: str) -> tuple[Figure, Axes]:
    figure, axes = _empty()
    _name(axes, "Items", label)
    axes.set_xlim(0, max([1, *_items(run)]))
    axes.xaxis.set_major_formatter(count_ticks())
    return figure, axes


def _empty() -> tuple[Figure, Axes]:
    figure = Figure((COLUMN, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _items(run: LearnedRun) -> list[int]:
    return [moment.items for moment in run.moments]


def _level_colours(runs: Iterable[LearnedRun]) -> list[tuple[str, str]]:
    levels = dict.fromkeys(
        level.name for run in runs for level in run.levels if level.name != EXPERT
    )
    return [*coloured(levels), (EXPERT, GREY)]


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.yaxis.set_major_formatter(percent_ticks())
