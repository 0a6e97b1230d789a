"""Figure 3 of the paper, a panel for each task: accuracy against compute; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.ticker import EngFormatter

from escalade.simulator.palette import coloured
from escalade.simulator.paper.drawing import STYLE, draw_legend, panel_grid, percent_ticks, save

_MARKS = "os^Dv"


class Dot(NamedTuple):
    """A cascade: what it computes for a query, and the share of right answers."""

    flops: float
    accuracy: float


def draw(stem: Path, tasks: Mapping[str, Mapping[str, Sequence[Dot]]]) -> None:
    """Write the figure, as SVG and PNG; by task and kind of cascade its dots."""
    with rc_context(STYLE):
        figure, panels = panel_grid(len(tasks))
        handles = {}
        for axes, (title, kinds) in zip(panels, tasks.items(), strict=True):
            for (kind, colour), mark in zip(coloured(kinds), _MARKS, strict=False):
                dots = kinds[kind]
                (handles[kind],) = axes.plot(
                    [dot.flops for dot in dots],
                    [dot.accuracy for dot in dots],
                    linestyle="none",
                    marker=mark,
                    markersize=2.6,
                    color=colour,
                    label=kind,
                )
            axes.set(title=title, xlabel="Compute per query (FLOPs)", ylabel="Right", xscale="log")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.yaxis.set_major_formatter(percent_ticks())
        draw_legend(figure, handles.values())
        save(stem, figure)
