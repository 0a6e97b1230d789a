"""Records of cascades that learned from a stream; knows no learner and no page.

Accuracies and shares are in [0, 1]. A level is below the expert; who answers is called by name, and
the expert `expert`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

EXPERT = "expert"


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
    #: Of how many this last is.
    recent_measured: int = 0
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

    def quality(self, label: str | None = None) -> float | None:
        """Accuracy, or the recall of a class."""
        return self.accuracy if label is None else self.recall.get(label)


def in_stretches(run: LearnedRun, most: int) -> LearnedRun:
    """The run with no more than so many moments; each is of several, one after the other."""
    each = max(1, -(-len(run.moments) // most))
    pieces = [run.moments[k : k + each] for k in range(0, len(run.moments), each)]
    return msgspec.structs.replace(run, moments=[_together(piece) for piece in pieces])


def _together(moments: Sequence[Moment]) -> Moment:
    """As if only at the last of them had been looked."""
    answered = Counter[str]()
    right, measured = 0.0, 0
    for one in moments:
        answered.update(one.by)
        right += (one.recent_accuracy or 0) * one.recent_measured
        measured += one.recent_measured
    return msgspec.structs.replace(
        moments[-1],
        by=dict(answered),
        recent_accuracy=right / measured if measured else None,
        recent_measured=measured,
    )
