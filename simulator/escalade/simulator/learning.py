"""Cascades that learned from a stream, as records and tables; knows no learner and no page.

Accuracies and shares are in [0, 1]. A level is below the expert; who answers is called by name, and
the expert `expert`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.base import counted
from escalade.simulator.formats import Cell, TextTable, count, percent, seconds

EXPERT = "expert"
_NONE = "\N{EN DASH}"


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Of all answers that levels gave so far, those that the expert would have given too."""

    low: float
    #: None before the first audit.
    estimate: float | None
    high: float


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run was after so many items."""

    items: int
    #: How many of the items since the moment before each level, and the expert, answered.
    by: dict[str, int]
    #: Calls of the expert so far.
    calls: int
    #: Of the answers so far whose right class is known; and of those since the moment before.
    accuracy: float | None = None
    recent_accuracy: float | None = None
    agreement: Agreement | None = None


class LevelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a level, or the expert, did; None where it is not known."""

    name: str
    answered: int
    #: To answer; and to teach what had passed by.
    runs: int
    learning_runs: int = 0
    updates: int = 0
    #: Of all runs, and of all updates.
    flops: float | None
    learning_flops: float = 0.0
    seconds: float
    learning_seconds: float = 0.0


class LearnedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run over a stream."""

    name: str
    #: `cascade`, or what it is compared with.
    method: str
    #: What a unit of cost weighs; None where the method has none.
    mu: float | None = None
    labels: list[str]
    items: int
    accuracy: float | None = None
    #: Of each class; None of one that never was right, or never was answered.
    recall: dict[str, float | None] = {}
    precision: dict[str, float | None] = {}
    agreement: Agreement | None = None
    audited: int = 0
    #: In ascending cost, the expert last.
    levels: list[LevelFigures]
    moments: list[Moment] = []
    #: After how many items the agreement was found to have fallen.
    alarms: list[int] = []

    @property
    def calls(self) -> int:
        """Of the expert."""
        return self.levels[-1].runs


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
            Cell(percent(one.answered / max(run.items, 1)), f"{one.answered:,}"),
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


def runs_table(runs: Sequence[LearnedRun]) -> TextTable:
    """Several runs over one stream, side by side."""
    rows = [
        [
            Cell(run.name, run.method if run.mu is None else f"{run.method}, mu {run.mu:g}"),
            Cell(f"{run.calls:,}", percent(run.calls / max(run.items, 1))),
            Cell(_percent(run.accuracy)),
            Cell(_NONE if run.agreement is None else _agreement(run.agreement)),
        ]
        for run in runs
    ]
    return TextTable("Runs", ["run", "calls", "accuracy", "agreement"], rows)


def _learning(flops: float) -> str:
    return f"{count(flops)} to learn" if flops else ""


def _percent(share: float | None) -> str:
    return _NONE if share is None else percent(share)


def _agreement(of: Agreement) -> str:
    return f"{_percent(of.estimate)} ({percent(of.low)} to {percent(of.high)})"
