"""What was learned from streams as columns for notebooks, and behind each figure; knows no page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from escalade.simulator.frames import Frame, Value, frame_of
from escalade.simulator.learning.runs import Agreement, LearnedRun, LevelFigures

_AGREEMENT = ("agreement", "agreement_low", "agreement_high")
_LEVEL = LevelFigures.__struct_fields__[1:]
_HEADS = {
    "runs": ("run", "method", "mu", "items", "calls", "accuracy", "audited", *_AGREEMENT),
    "levels": ("run", "level", *_LEVEL),
    "classes": ("run", "method", "items", "calls", "class", "recall", "precision"),
    "moments": (
        *("run", "items", "calls", "accuracy", "recent_accuracy", "recent_measured"),
        *_AGREEMENT,
    ),
    "answered": ("run", "items", "level", "answered"),
    "alarms": ("run", "items"),
}


def frames_of(runs: Sequence[LearnedRun]) -> list[Frame]:
    """`runs`, `levels` and `classes`; over the stream `moments`, `answered` and `alarms`.

    Calls and accuracy of a moment are of all items so far; what is recent, and who `answered`, of
    those since the moment before.
    """
    rows: dict[str, list[Sequence[Value]]] = {name: [] for name in _HEADS}
    for run in runs:
        for name, row in _rows(run):
            rows[name].append((run.name, *row))
    return [frame_of(name, head, rows[name]) for name, head in _HEADS.items()]


def _rows(run: LearnedRun) -> Iterator[tuple[str, Sequence[Value]]]:
    """Each with the frame it is of, without the run's name."""
    base = (run.method, run.mu, run.items, run.calls, run.accuracy, run.audited)
    yield "runs", (*base, *_agreement(run.agreement))
    for one in run.levels:
        yield "levels", (one.name, *(getattr(one, key) for key in _LEVEL))
    for label in run.labels:
        known = (label, run.recall.get(label), run.precision.get(label))
        yield "classes", (run.method, run.items, run.calls, *known)
    for moment in run.moments:
        recent = (moment.recent_accuracy, moment.recent_measured)
        agreement = _agreement(moment.agreement)
        yield "moments", (moment.items, moment.calls, moment.accuracy, *recent, *agreement)
        for one in run.levels:
            yield "answered", (moment.items, one.name, moment.by.get(one.name, 0))
    for items in run.alarms:
        yield "alarms", (items,)


def _agreement(of: Agreement | None) -> tuple[Value, Value, Value]:
    return (None, None, None) if of is None else (of.estimate, of.low, of.high)
