"""Figures of a fleet's run, for a paper and for its page; computes nothing, knows no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from escalade.simulator.frames import Frame, Value
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.paper.drawing import (
    COLUMN,
    DASHES,
    STYLE,
    count_ticks,
    draw_legend,
    legend_label,
    percent_ticks,
    save,
    seconds_ticks,
)

Floats = NDArray[np.float64]

_HEIGHT = 2.0

#: Of all answers of a group, and of those of one place.
_DASHES = dict(zip(("all", "cloud", "gateway"), DASHES, strict=False))

#: A query that took no time is drawn here, on a logarithmic axis.
_LEAST_S = 1e-6

#: Units of time with their seconds; an axis has the longest of which a run lasts a few.
_UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
_A_FEW = 10


def write_fleet_figures(folder: Path, frames: Sequence[Frame]) -> list[Path]:
    """Write every figure of a run as PNG and SVG; returns the files."""
    figures = fleet_figures(frames)
    with rc_context(STYLE):
        return [path for name, figure in figures.items() for path in save(folder / name, figure)]


def fleet_figures(frames: Sequence[Frame]) -> dict[str, Figure]:
    """By name; what is drawn is called `line-K`, `outage-K`, and `all-G` of a group and so on.

    They are `load`, `replicas`, `waiting` over time, outages shaded; and `latency`.

    Args:
        frames: `timeline`, `outages` and `distribution` among them.
    """
    told = {frame.name: frame.columns for frame in frames}
    course = {name: np.array(column, dtype=float) for name, column in told["timeline"].items()}
    load = {
        "queries": course["queries_per_s"],
        "to the cloud": course["attempts_per_s"],
        "refused": course["refused_per_s"],
        "degraded": course["degraded_per_s"],
    }
    if course["refused_near_per_s"].any():
        load["refused at gateways"] = course["refused_near_per_s"]
    replicas = {
        "paid": course["replicas"],
        "at work": course["replicas"] * course["utilisation"],
    }
    waiting = {"": course["waiting"]}
    # Stretches of time are of one length.
    edges_s = np.append(course["from_s"], len(course["from_s"]) * course["from_s"][1])
    outages = np.array([told["outages"]["from_s"], told["outages"]["to_s"]], dtype=float).T
    with rc_context(STYLE):
        return {
            "load": _over_time("Queries a second", edges_s, load, outages),
            "replicas": _over_time("Replicas", edges_s, replicas, outages),
            "waiting": _over_time("Queries that wait in the cloud", edges_s, waiting, outages),
            "latency": _latency(told["distribution"]),
        }


def _over_time(
    label: str, edges_s: Floats, lines: Mapping[str, Floats], outages_s: Floats
) -> Figure:
    figure = Figure((COLUMN, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    unit, many_s = next((one for one in _UNITS if edges_s[-1] >= _A_FEW * one[1]), _UNITS[-1])
    for k, ((name, colour), values) in enumerate(zip(coloured(lines), lines.values(), strict=True)):
        axes.plot(
            edges_s / many_s,
            np.append(values, values[-1]),
            drawstyle="steps-post",
            color=colour,
            linestyle=DASHES[k % len(DASHES)],
            linewidth=1,
            label=legend_label(name) if name else None,
            gid=f"line-{k}",
        )
    for k, (from_s, to_s) in enumerate(outages_s):
        shade = axes.axvspan(from_s / many_s, to_s / many_s, color=GREY, alpha=0.25, linewidth=0)
        shade.set_gid(f"outage-{k}")
    axes.set(xlabel=f"Time ({unit})", ylabel=label, xlim=(0, edges_s[-1] / many_s))
    if not any(values.any() for values in lines.values()):
        axes.set_ylim(top=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(count_ticks())
    if len(lines) > 1:
        draw_legend(figure, axes.lines)
    return figure


def _latency(told: Mapping[str, Sequence[Value]]) -> Figure:
    """Of each group, all answers, and those of its gateways and of the cloud."""
    figure = Figure((COLUMN, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    colours = dict(coloured(dict.fromkeys(map(str, told["group"]))))
    lines = dict.fromkeys(zip(map(str, told["group"]), told["answers"], strict=True))
    share, seconds = (np.array(told[name], dtype=float) for name in ("share", "seconds"))
    for group, answers in lines:
        own = [
            k
            for k, line in enumerate(zip(told["group"], told["answers"], strict=True))
            if line == (group, answers)
        ]
        label = group if answers == "all" else f"{group}, {answers}'s"
        axes.plot(
            np.maximum(seconds[own], _LEAST_S),
            share[own],
            drawstyle="steps-post",
            color=colours[group],
            linestyle=_DASHES[str(answers)],
            label=legend_label(label),
            gid=f"{answers}-{list(colours).index(group)}",
        )
    axes.set(xlabel="Latency", ylabel="Queries answered", xscale="log", ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(seconds_ticks())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(percent_ticks())
    draw_legend(figure, axes.lines)
    return figure
