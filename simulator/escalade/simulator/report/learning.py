"""Writes a cascade that learned from a stream as one page; knows no formula of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.simulator.frames import rows_where
from escalade.simulator.learning import (
    LearnedRun,
    against_calls_table,
    classes_table,
    course_tables,
    frames_of,
    in_stretches,
    lede,
    levels_table,
    runs_table,
)
from escalade.simulator.paper import learning_figures
from escalade.simulator.report.charts import Chart, chart, csv_link, policy
from escalade.simulator.report.page import write_page

_SCRIPTS = ("printing.js",)

#: Points of a course; more cannot be told apart, and a page would grow with its stream.
_MOST_POINTS = 400

#: Figures 5 to 8 of the paper, and the audit's: of each its title, caption, and whose numbers.
_COURSE = {
    "answered": (
        "Who answered",
        "Shares of the items since the point before.",
        "answered",
    ),
    "calls": (
        "Calls of the expert",
        "So far, audits included. Dashed: the expert asked about every item.",
        "moments",
    ),
    "accuracy": (
        "Accuracy",
        "Where the right class is known: of all answers so far, and of those since the point"
        " before.",
        "moments",
    ),
    "agreement": (
        "Agreement with the expert",
        "Of all answers that levels gave so far, estimated from those audited; shaded, its"
        " interval, which holds at all times at once.",
        "moments",
    ),
}


def write_learning_page(path: Path, run: LearnedRun, beside: Sequence[LearnedRun] = ()) -> None:
    """Write the page of a run; the same runs give the same page.

    Args:
        path: the page.
        run: whose course is drawn.
        beside: others over the same stream, such as those with another mu, and baselines.

    Raises:
        DataError: it cannot be written.
    """
    drawn, runs = in_stretches(run, _MOST_POINTS), [run, *beside]
    figures, tables = learning_figures(drawn, beside), course_tables(run)
    own, every = ({one.name: one for one in frames_of(of)} for of in ([drawn], runs))
    curves: list[Chart] = []
    for name in list(figures)[len(tables) :]:
        label = run.labels[int(name.removeprefix("recall-"))] if name != "curve" else None
        what = "Accuracy" if label is None else f"Recall of {label}"
        behind = {f"{name}-table": against_calls_table(runs, label)}
        numbers = every["runs"]
        if label is not None:
            numbers = rows_where(every["classes"], **{"class": label})
        curves.append(chart(name, f"{what} against calls", figures[name], "", behind, numbers))
    values: dict[str, object] = {
        "name": run.name,
        "lede": [lede(run)],
        "policy": policy(*_SCRIPTS),
        "scripts": _SCRIPTS,
        "course": [
            chart(name, title, figures[name], caption, {f"{name}-table": tables[name]}, own[frame])
            for name, (title, caption, frame) in _COURSE.items()
            if name in figures
        ],
        "alarms_csv": csv_link(own["alarms"]) if run.alarms else None,
        "levels": levels_table(run),
        "levels_csv": csv_link(own["levels"]),
        "classes": classes_table(run),
        "classes_csv": csv_link(own["classes"]),
        "curves": curves,
        "runs": runs_table(runs) if beside else None,
        "runs_csv": csv_link(every["runs"]),
        "agreement": run.agreement,
        "left_out": len(run.moments) > len(drawn.moments),
    }
    write_page(path, "learning.html", values)
