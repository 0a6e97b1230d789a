"""What was learned from streams as columns for notebooks, and behind each figure; knows no page."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.simulator.frames import Frame, Value, frame_of
from escalade.simulator.learning.runs import Agreement, LearnedRun, LevelFigures

_AGREEMENT = ("agreement", "agreement_low", "agreement_high")
_LEVEL = LevelFigures.__struct_fields__[1:]


def frames_of(runs: Sequence[LearnedRun]) -> list[Frame]:
    """`runs`, `levels` and `classes`; over the stream `moments`, `answered` and `alarms`.

    Calls and accuracy of a moment are of all items so far; what is recent, and who `answered`, of
    those since the moment before.
    """
    of_runs: list[list[Value]] = [
        [run.name, run.method, run.mu, run.items, run.calls, run.accuracy]
        + [*_agreement(run.agreement), run.audited]
        for run in runs
    ]
    levels: list[list[Value]] = [
        [run.name, one.name, *(getattr(one, key) for key in _LEVEL)]
        for run in runs
        for one in run.levels
    ]
    classes: list[list[Value]] = [
        [run.name, run.method, label, run.items, run.calls]
        + [run.recall.get(label), run.precision.get(label)]
        for run in runs
        for label in run.labels
    ]
    moments: list[list[Value]] = [
        [run.name, one.items, one.calls, one.accuracy, one.recent_accuracy, one.recent_measured]
        + _agreement(one.agreement)
        for run in runs
        for one in run.moments
    ]
    answered: list[list[Value]] = [
        [run.name, one.items, level.name, one.by.get(level.name, 0)]
        for run in runs
        for one in run.moments
        for level in run.levels
    ]
    alarms: list[list[Value]] = [[run.name, items] for run in runs for items in run.alarms]
    told = ("run", "method", "mu", "items", "calls", "accuracy", *_AGREEMENT, "audited")
    recent = ("recent_accuracy", "recent_measured")
    return [
        frame_of("runs", told, of_runs),
        frame_of("levels", ("run", "level", *_LEVEL), levels),
        frame_of(
            "classes", ("run", "method", "class", "items", "calls", "recall", "precision"), classes
        ),
        frame_of("moments", ("run", "items", "calls", "accuracy", *recent, *_AGREEMENT), moments),
        frame_of("answered", ("run", "items", "level", "answered"), answered),
        frame_of("alarms", ("run", "items"), alarms),
    ]


def _agreement(of: Agreement | None) -> list[Value]:
    return [None] * 3 if of is None else [of.estimate, of.low, of.high]
