"""Cascades that learned from a stream, as people read them; knows no learner and no page."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.edge.base import counted
from escalade.simulator.formats import Cell, TextTable, count, percent, seconds
from escalade.simulator.learning.runs import Agreement, LearnedRun, in_stretches

_NONE = "\N{EN DASH}"
#: Rows of a table beside a figure.
_MOST_ROWS = 20


def lede(run: LearnedRun) -> str:
    """A run in a sentence."""
    said = [
        f"{counted(run.items, 'item', ',')}, {counted(run.calls, 'call', ',')} of the expert"
        f" ({percent(1 - run.calls / max(run.items, 1))} saved)"
    ]
    if run.accuracy is not None:
        said.append(f"accuracy {percent(run.accuracy)}")
    if run.agreement is not None:
        said.append(f"agreement with the expert {_agreement(run.agreement)}")
    if run.alarms:
        said.append(f"the alarm went off after {', '.join(f'{n:,}' for n in run.alarms)} items")
    return f"{run.name}: {'; '.join(said)}"


def levels_table(run: LearnedRun) -> TextTable:
    """Who answered what, and every run that was made for it."""
    rows = [
        [
            Cell(one.name),
            Cell(_share(one.answered, run.items), f"{one.answered:,}"),
            Cell(f"{one.runs:,}", f"{one.learning_runs:,} to learn" if one.learning_runs else ""),
            Cell(f"{one.updates:,}" if one.updates else _NONE),
            Cell(_NONE if one.flops is None else count(one.flops), _learning(one.learning_flops)),
            Cell(
                seconds(one.seconds),
                f"{seconds(one.learning_seconds)} to learn" if one.learning_seconds else "",
            ),
        ]
        for one in run.levels
    ]
    head = ["level", "answered", "runs", "updates", "FLOPs", "time"]
    return TextTable("Who answered, and what was run", head, rows)


def classes_table(run: LearnedRun) -> TextTable:
    """How right each class was; without rows where no right class is known."""
    rows = [
        [
            Cell(name),
            Cell(_percent(run.recall.get(name))),
            Cell(_percent(run.precision.get(name))),
        ]
        for name in run.labels
        if run.accuracy is not None
    ]
    return TextTable("Classes", ["class", "recall", "precision"], rows)


def course_tables(run: LearnedRun) -> dict[str, TextTable]:
    """`answered` and `calls` over the stream; `accuracy` and `agreement` where they are known.

    Of a long stream a row is of several moments.
    """
    moments = in_stretches(run, _MOST_ROWS).moments
    names = [level.name for level in run.levels]
    after = [f"{moment.items:,}" for moment in moments]
    answered = [
        [_share(one.by.get(name, 0), sum(one.by.values())) for name in names] for one in moments
    ]
    calls = [[f"{one.calls:,}", _share(one.calls, one.items)] for one in moments]
    found = {
        "answered": _course(
            "Who answered, of the items since the row above", names, after, answered
        ),
        "calls": _course("Calls so far", ["calls", "of the items"], after, calls),
    }
    if run.accuracy is not None:
        right = [[_percent(one.accuracy), _percent(one.recent_accuracy)] for one in moments]
        found["accuracy"] = _course(
            "Accuracy of answers", ["so far", "since the row above"], after, right
        )
    if run.agreement is not None:
        agreed = [_agreed(one.agreement) for one in moments]
        head = ["estimate", "lowest", "highest"]
        found["agreement"] = _course("Agreement so far", head, after, agreed)
    return found


def against_calls_table(runs: Sequence[LearnedRun], label: str | None = None) -> TextTable:
    """Accuracy, or the recall of a class, of runs beside their calls."""
    rows = [
        [
            Cell(run.name, run.method),
            Cell(_share(run.calls, run.items), f"{run.calls:,}"),
            Cell(_percent(run.quality(label))),
        ]
        for run in runs
    ]
    what = "accuracy" if label is None else "recall"
    return TextTable(f"{what.capitalize()} of each run", ["run", "calls", what], rows)


def runs_table(runs: Sequence[LearnedRun]) -> TextTable:
    """Several runs over one stream, side by side."""
    rows = [
        [
            Cell(run.name, run.method if run.mu is None else f"{run.method}, mu {run.mu:g}"),
            Cell(f"{run.calls:,}", _share(run.calls, run.items)),
            Cell(_percent(run.accuracy)),
            Cell(_NONE if run.agreement is None else _agreement(run.agreement)),
        ]
        for run in runs
    ]
    return TextTable("Runs", ["run", "calls", "accuracy", "agreement"], rows)


def _learning(flops: float) -> str:
    return f"{count(flops)} to learn" if flops else ""


def _course(
    title: str, head: Sequence[str], after: Sequence[str], rows: Sequence[Sequence[str]]
) -> TextTable:
    cells = [[Cell(items), *map(Cell, row)] for items, row in zip(after, rows, strict=True)]
    return TextTable(title, ["after items", *head], cells)


def _agreed(of: Agreement | None) -> list[str]:
    return [_NONE] * 3 if of is None else [_percent(of.estimate), percent(of.low), percent(of.high)]


def _share(part: int, of: int) -> str:
    return percent(part / max(of, 1))


def _percent(share: float | None) -> str:
    return _NONE if share is None else percent(share)


def _agreement(of: Agreement) -> str:
    return f"{_percent(of.estimate)} ({percent(of.low)} to {percent(of.high)})"
