"""Writes a cascade that learned from a stream as one page; knows no formula of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.simulator.learning import (
    LearnedRun,
    classes_table,
    lede,
    levels_table,
    runs_table,
)
from escalade.simulator.report.page import write_page
from escalade.simulator.report.plotted import learning_figures as figures
from escalade.simulator.report.plotted.plots import Drawn, drawn


def write_learning_page(path: Path, run: LearnedRun, beside: Sequence[LearnedRun] = ()) -> None:
    """Write the page of a run; the same runs give the same page.

    Args:
        path: the page.
        run: whose course is drawn, with at least one moment.
        beside: others over the same stream, such as those with another mu, and baselines.

    Raises:
        DataError: it cannot be written.
    """
    values: dict[str, object] = {
        "name": run.name,
        "lede": [lede(run)],
        "course": _course(run),
        "levels": levels_table(run),
        "classes": classes_table(run),
        "curves": _curves([run, *beside]) if beside else [],
        "runs": runs_table([run, *beside]) if beside else None,
        "agreement": run.agreement,
    }
    write_page(path, "learning.html", values)


def _course(run: LearnedRun) -> list[Drawn]:
    """Figures 5 to 8 of the paper, and the audit's."""
    found = [
        drawn(
            "answered",
            "Who answered",
            figures.answered(run),
            "Shares of the items since the point before.",
        ),
        drawn(
            "calls",
            "Calls of the expert",
            figures.calls(run),
            "So far, audits included. Dashed: the expert asked about every item.",
        ),
    ]
    if run.accuracy is not None:
        found.append(
            drawn(
                "accuracy",
                "Accuracy",
                figures.accuracy(run),
                "Where the right class is known: of all answers so far, and of those since the"
                " point before.",
            )
        )
    if run.agreement is not None:
        found.append(
            drawn(
                "agreement",
                "Agreement with the expert",
                figures.agreement(run),
                "Of all answers that levels gave so far, estimated from those audited; shaded, its"
                " interval, which holds at all times at once.",
            )
        )
    return found


def _curves(runs: Sequence[LearnedRun]) -> list[Drawn]:
    """Figures 3 and 4 of the paper."""
    found = []
    if any(run.accuracy is not None for run in runs):
        found.append(drawn("curve", "Accuracy against calls", figures.accuracy_curves(runs)))
    for k, label in enumerate(runs[0].labels):
        if any(run.recall.get(label) is not None for run in runs):
            title = f"Recall of {label} against calls"
            found.append(drawn(f"recall-{k}", title, figures.recall_curves(runs, label)))
    return found
