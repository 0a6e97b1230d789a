"""What a run counts and writes: answers, events, totals; knows no model and no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

Outcome = Literal["answered", "degraded", "unparsed", "refused"]
EventKind = Literal[
    "figures", "expert_changed", "expert_failed", "expert_back", "expert_unparsed", "alarm"
]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item: a line of `answers.jsonl`."""

    #: Its place in the stream, from 0.
    item: int
    id: str
    #: `degraded`: the expert was due and did not answer; `unparsed`: its answer names no label.
    #: The best level so far answers then. `refused`: the item cannot be answered.
    outcome: Outcome
    #: The class; None where the item was refused.
    label: str | None = None
    #: The level that gave it, or `expert`.
    by: str | None = None
    #: Of the label, under that level; None of the expert's.
    logprob: float | None = None
    #: What the expert's answer names where it was asked; None where it names no label. What it said
    #: is in `expert.jsonl`.
    expert_label: str | None = None
    #: Whether it was asked about an answer that stood already.
    audited: bool = False
    #: Why it is not `answered`.
    why: str | None = None


class LevelTally(msgspec.Struct, kw_only=True):
    """What one level did."""

    name: str
    answered: int = 0
    #: To answer; and to teach the calibrator about an item that went straight to the expert.
    runs: int = 0
    learning_runs: int = 0
    updates: int = 0
    #: Of runs, of either kind; and of updates.
    flops: float = 0.0
    learning_flops: float = 0.0
    seconds: float = 0.0
    learning_seconds: float = 0.0


class ExpertTally(msgspec.Struct, kw_only=True):
    """What the expert did."""

    calls: int = 0
    #: Items that its label answers.
    answered: int = 0
    unparsed: int = 0
    failed: int = 0
    #: How often another model answered than before.
    changes: int = 0
    #: Of which the server said how many; and what the configuration says of a call.
    tokens: int = 0
    flops: float | None = None
    seconds: float = 0.0


class Tally(msgspec.Struct, kw_only=True):
    """What a run has counted so far."""

    levels: list[LevelTally]
    expert: ExpertTally
    #: Rows are right classes, columns answered ones.
    confusion: list[list[int]]
    items: int = 0
    #: In units of the configuration: every run of every level, and every call.
    cost: float = 0.0
    degraded: int = 0
    unparsed: int = 0
    #: Items that were refused, by why.
    refused: dict[str, int] = {}
    #: Right classes that are none of the labels: their items are not measured.
    unknown_labels: int = 0


def new_tally(names: Sequence[str], classes: int) -> Tally:
    """Nothing yet, for levels of those names and K classes."""
    return Tally(
        levels=[LevelTally(name=name) for name in names],
        expert=ExpertTally(),
        confusion=[[0] * classes for _ in range(classes)],
    )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How right answers were, where the right class is known."""

    items: int
    accuracy: float
    #: Of each class; None of one that never was right.
    recall: dict[str, float | None]
    #: Of each class; None of one that never was answered.
    precision: dict[str, float | None]


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How often kept answers are the expert's, over all of them so far; see `Audit.interval`."""

    low: float
    estimate: float | None
    high: float
    #: Of how many kept answers the expert was asked, and alarms because it fell.
    audited: int
    alarms: int


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something to tell while a run goes on: a line of `events.jsonl`."""

    #: `figures` every so many items and at the end; the others as they happen, an answer without a
    #: label only the first time.
    event: EventKind
    #: Items done.
    items: int
    #: For people.
    what: str = ""
    #: Of the items since the last figures: how many each level, and the expert, answered.
    by: dict[str, int] = {}
    #: Of those that were measured: how many were right.
    window_measured: int = 0
    window_right: int = 0
    #: Of the whole run.
    calls: int = 0
    cost: float = 0.0
    degraded: int = 0
    unparsed: int = 0
    refused: int = 0
    measured: int = 0
    right: int = 0
    agreement: Agreement | None = None
    #: Of each level.
    beta: dict[str, float] = {}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run: `result.json`."""

    #: Of the file.
    schema: int = 1
    labels: list[str]
    #: As it was read, with what it left out.
    configuration: dict[str, object]
    #: Of items from this one on: those before teach a baseline.
    measured_from: int
    tally: Tally
    measured: Measured | None
    #: None without an audit.
    agreement: Agreement | None
    seconds: float


def measured(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Measured | None:
    """Accuracy, recall and precision; None where no item was measured."""
    total = sum(map(sum, confusion))
    if not total:
        return None
    hits = [row[k] for k, row in enumerate(confusion)]
    columns = list(zip(*confusion, strict=True))

    def shares(of: Sequence[Sequence[int]]) -> dict[str, float | None]:
        return {
            label: hits[k] / sum(of[k]) if sum(of[k]) else None for k, label in enumerate(labels)
        }

    return Measured(
        items=total,
        accuracy=sum(hits) / total,
        recall=shares(confusion),
        precision=shares(columns),
    )


def answered_by(tally: Tally) -> Mapping[str, int]:
    """Items that each level, and the expert, answered."""
    return {one.name: one.answered for one in tally.levels} | {"expert": tally.expert.answered}
