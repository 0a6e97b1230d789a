"""Round trips over networks, drawn for a paper: how they are distributed, and over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from escalade.simulator.network import Pings
from escalade.simulator.palette import coloured
from escalade.simulator.paper.drawing import (
    DASHES,
    PAGE,
    STYLE,
    draw_legend,
    legend_label,
    percent_ticks,
    save_as,
)

#: A network that takes no time is drawn here, on a logarithmic axis.
_LEAST_MS = 1e-4

#: Lines over time, which cross each other.
_THIN = 0.7

#: A stretch of so many seconds is drawn in hours.
_HOURS_FROM_S = 7200

#: Decades have marks between them where the axis has fewer than two.
_FEW = 100


def write_network_figure(
    path: Path, distribution: Mapping[str, Pings], stretch: Mapping[str, Pings]
) -> None:
    """Write one figure of two panels, PNG or SVG as the name ends.

    Args:
        path: the file.
        distribution: of each network, by its name, many round trips.
        stretch: of the same networks, round trips one soon after the other.
    """
    with rc_context(STYLE):
        figure = Figure((PAGE, 2.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_distribution(left, distribution)
        _draw_stretch(right, stretch)
        draw_legend(figure, left.lines)
        save_as(path, figure)


def _draw_distribution(axes: Axes, networks: Mapping[str, Pings]) -> None:
    times = [_drawn_ms(pings) for pings in networks.values()]
    for k, ((name, colour), ms) in enumerate(zip(coloured(networks), times, strict=True)):
        axes.step(
            np.append(ms.min(), np.sort(ms)),
            np.linspace(0, 1, len(ms) + 1),
            where="post",
            color=colour,
            linestyle=DASHES[k % len(DASHES)],
            label=legend_label(name),
        )
    axes.set(xlabel="Round trip (ms)", ylabel="Share of the round trips", xscale="log")
    axes.set(xlim=_limits(times), ylim=(0, 1))
    axes.yaxis.set_major_formatter(percent_ticks())
    _tick(axes.xaxis, *axes.get_xlim())


def _draw_stretch(axes: Axes, networks: Mapping[str, Pings]) -> None:
    times = [_drawn_ms(pings) for pings in networks.values()]
    longest_s = max(float(pings.sent_s[-1]) for pings in networks.values())
    unit, unit_s = ("h", 3600) if longest_s >= _HOURS_FROM_S else ("s", 1)
    for (_, colour), pings, ms in zip(coloured(networks), networks.values(), times, strict=True):
        axes.plot(pings.sent_s / unit_s, ms, color=colour, linewidth=_THIN)
    axes.set(xlabel=f"Time ({unit})", ylabel="Round trip (ms)", yscale="log", ylim=_limits(times))
    _tick(axes.yaxis, *axes.get_ylim())


def _drawn_ms(pings: Pings) -> NDArray[np.float64]:
    return np.maximum(1e3 * pings.rtt_s, _LEAST_MS)


def _limits(times: Iterable[NDArray[np.float64]]) -> tuple[float, float]:
    """Half and twice what there is: a time that does not vary has ticks beside it too."""
    both = [(float(ms.min()), float(ms.max())) for ms in times]
    return min(low for low, _ in both) / 2, max(high for _, high in both) * 2


def _tick(axis: Axis, low: float, high: float) -> None:
    """In plain numbers; between the decades too where there are few."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _FEW * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
