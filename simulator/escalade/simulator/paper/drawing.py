"""Axes, lines, legends and files of the figures for a paper; knows no whole figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, Formatter, FuncFormatter, MaxNLocator

from escalade.edge.base import atomic_write
from escalade.simulator.evaluation import CurvePoints, Evaluation, Slice
from escalade.simulator.palette import GREY, coloured
from escalade.simulator.paper.glyphs import (
    FONT,
    lacking,
    no_warning_of_glyphs,
    replace_no_text,
    say_lacking,
)

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

#: Inches: a column of ACL's style is 3.03 wide (acl-org/acl-style-files).
COLUMN = 3.03
PAGE = 6.30

STYLE: dict[RcKeyType, object] = {
    "font.family": FONT,
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "legend.fontsize": 6,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "text.parse_math": False,  # a name may hold a $
    "svg.fonttype": "path",
    "svg.hashsalt": "escalade",
}

#: Dots an inch of a PNG.
_DPI = 300

#: Inches that a legend's entry takes at 6 points: its line and gaps, and a letter on average.
_ENTRY = 0.4
_LETTER = 0.05

#: Of the span of an axis, what stays free at each end; and the least such span, a share.
_MARGIN = 0.04
_LEAST_SPAN = 0.02

#: Random deferral and the oracle stand back.
_THIN = 0.7
_DOTTED = (0, (1, 1.6))
_DASHED = (0, (2, 2))

#: One after the other for groups and rules, so that a grey print tells them apart too.
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "solid",
    (0, (5, 1.2)),
    (0, (3, 1, 1, 1)),
    (0, (1.5, 1)),
    (0, (7, 1, 1, 1, 1, 1)),
    (0, (9, 2)),
)


def seconds_ticks() -> Formatter:
    """Seconds with their unit: `10 ms`, where `10m` is read as minutes."""
    return EngFormatter(unit="s")


def count_ticks() -> Formatter:
    """What is counted: `1.2k`, and `0.5`, where `500m` is read as millions."""
    thousands = EngFormatter(sep="")
    return FuncFormatter(lambda value, _: thousands(value) if abs(value) >= 1 else f"{value:g}")


def percent_ticks() -> FuncFormatter:
    """As many digits as a tick has: `58%`, `57.5%`."""
    return FuncFormatter(lambda value, _: f"{100 * value:.4g}%")


def panel_grid(panels: int) -> tuple[Figure, list[Axes]]:
    """Panels over a page's width, or one over a column's."""
    columns = _columns(panels)
    rows = -(-panels // columns)
    width = COLUMN if columns == 1 else PAGE
    figure = Figure((width, 0.4 + 1.9 * rows), layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in made[panels:]:
        spare.set_axis_off()
    return figure, made[:panels]


def draw_legend(figure: Figure, lines: Iterable[Line2D]) -> None:
    """Above the axes, in as few rows as the figure's width has room for."""
    # What matplotlib was given no label for, it labels with a leading underscore.
    shown = [line for line in lines if not str(line.get_label()).startswith("_")]
    room = figure.get_figwidth()
    for line in shown:
        line.set_label(_shortened(str(line.get_label()), int((room - _ENTRY) / _LETTER)))
    for columns in range(len(shown), 0, -1):
        rows = -(-len(shown) // columns)
        longest = [
            max(len(str(line.get_label())) for line in shown[start : start + rows])
            for start in range(0, len(shown), rows)
        ]
        if sum(_ENTRY + _LETTER * length for length in longest) <= room or columns == 1:
            figure.legend(handles=shown, loc="outside upper center", ncols=-(-len(shown) // rows))
            return


def _shortened(label: str, letters: int) -> str:
    """A label that fits, without its middle; a longer one would push its line off the figure."""
    kept = letters - 1
    return (
        label if len(label) <= letters else f"{label[: kept // 2]}…{label[-(kept - kept // 2) :]}"
    )


def _columns(panels: int) -> int:
    """At most three, and four panels two by two."""
    return 2 if panels == 4 else min(panels, 3)  # noqa: PLR2004


def share_labels(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend; the axes are named at the left and at the foot only."""
    columns = _columns(len(panels))
    for k, axes in enumerate(panels):
        if k % columns:
            axes.set_ylabel("")
        if k + columns < len(panels):
            axes.set_xlabel("")
    draw_legend(figure, [*panels[0].lines, *limit_handles()])


def draw_curves(axes: Axes, evaluation: Evaluation, part: Slice) -> None:
    """Every group under the first rule, its seeds' range, random deferral and the oracle."""
    chosen = under_rule(part, evaluation.rules[0])
    for k, ((name, colour), curve) in enumerate(
        zip(coloured(evaluation.groups), chosen, strict=True)
    ):
        draw_limits(axes, curve, colour)
        if curve.lowest is not None and curve.highest is not None:
            band = (plottable(curve.cost), plottable(curve.lowest), plottable(curve.highest))
            axes.fill_between(*band, color=colour, alpha=0.15, linewidth=0)
        draw_line(axes, curve, colour, k, name)


def draw_line(axes: Axes, curve: CurvePoints, colour: str, k: int, name: str) -> None:
    """The k-th line of a figure."""
    axes.plot(
        plottable(curve.cost),
        plottable(curve.quality),
        color=colour,
        linestyle=DASHES[k % len(DASHES)],
        label=legend_label(name),
    )


def draw_limits(axes: Axes, curve: CurvePoints, colour: str) -> None:
    """Random deferral beneath, the oracle above."""
    axes.plot(curve.random_cost, curve.random, color=colour, linewidth=_THIN, linestyle=_DOTTED)
    axes.plot(curve.oracle_cost, curve.oracle, color=colour, linewidth=_THIN, linestyle=_DASHED)


def limit_handles() -> list[Line2D]:
    """What holds for every line, in no line's colour."""
    return [
        Line2D([], [], color=GREY, linewidth=_THIN, linestyle=_DASHED, label="oracle"),
        Line2D([], [], color=GREY, linewidth=_THIN, linestyle=_DOTTED, label="random deferral"),
    ]


def name_axes(axes: Axes, evaluation: Evaluation) -> None:
    """Names, units and ticks; an error rate's axis is turned round, so that up is better."""
    metric, cost = evaluation.metric, evaluation.cost
    # Shares and seconds have their unit at each tick.
    ticks = {"": percent_ticks(), "s": seconds_ticks()}
    unit = "" if cost.unit in ticks else f" ({cost.unit})"
    axes.set(xlabel=cost.label + unit, ylabel=metric.label)
    axes.xaxis.set_major_formatter(ticks.get(cost.unit, count_ticks()))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    if metric.is_share:
        axes.yaxis.set_major_formatter(percent_ticks())
    if not metric.higher_is_better:
        axes.invert_yaxis()
        axes.set_ylabel(f"{metric.label} (reversed)")


def legend_label(name: str) -> str:
    """A name as the legend takes it: what begins with an underscore it would leave out."""
    return f" {name}" if name.startswith("_") else name


def under_rule(part: Slice, rule: str) -> list[CurvePoints]:
    """One curve for each group."""
    return [curve for curve in part.curves if curve.rule == rule]


def room_around(values: Iterable[float | None]) -> tuple[float, float]:
    """Limits of an axis of shares, which may all be one: hardly beyond 0 and 100%."""
    reach = [value for value in values if value is not None] or [0.0, 1.0]
    span = max(max(reach) - min(reach), _LEAST_SPAN)
    low = max(0.0, min(1 - span, (max(reach) + min(reach) - span) / 2))
    return low - _MARGIN * span, low + (1 + _MARGIN) * span


def plottable(values: Sequence[float | None]) -> list[float]:
    """NaN for None: a gap in the line."""
    return [float("nan") if value is None else value for value in values]


def save(stem: Path, figure: Figure) -> list[Path]:
    """A PNG and an SVG."""
    saved = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in saved:
        save_as(path, figure)
    return saved


def save_as(path: Path, figure: Figure) -> None:
    """A PNG or an SVG, as the name ends, without the date that would make every file new."""
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {}
    texts: dict[RcKeyType, object] = {}
    replace_no_text(figure)
    if letters := lacking(figure):
        say_lacking(letters)
        texts["svg.fonttype"] = "none"  # whoever shows it has fonts for them
    with atomic_write(path) as stream, rc_context(texts), no_warning_of_glyphs():
        figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
