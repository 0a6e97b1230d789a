"""Tables of audits: in the study's runs, with changed classes, and where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.study_online.audited import STREAMS as STREAMS_COUNTED
from benchmarks.study_online.audited import ShapeFigures
from benchmarks.study_online.report.tables import NONE, cell, markdown

from escalade.simulator.learning import EXPERT, LearnedRun


def audits_table(courses: Mapping[str, LearnedRun]) -> str:
    """The audit of one cascade on each stream."""
    rows = []
    for title, run in courses.items():
        if run.agreement is None:
            continue
        rows.append(
            [
                title,
                f"{run.audited:,}",
                cell(None if run.agreement.estimate is None else 100 * run.agreement.estimate),
                f"{100 * run.agreement.low:.1f} to {100 * run.agreement.high:.1f}",
                ", ".join(f"{at:,}" for at in run.alarms) or "none",
            ]
        )
    return markdown(["stream", "audited", "agreement", "interval", "alarms"], rows)


def changes_table(changed: Mapping[str, Sequence[LearnedRun]]) -> str:
    """What a change of all classes halfway set off; each seed by itself."""
    rows = []
    for title, runs in changed.items():
        for run in runs:
            middle = run.items // 2
            after = [at for at in run.alarms if at > middle]
            until = next((m for m in reversed(run.moments) if m.items <= middle), run.moments[0])
            rows.append(
                [
                    title if run is runs[0] else "",
                    f"{len(run.alarms) - len(after)}",
                    f"{after[0] - middle:,}" if after else "never",
                    f"{until.calls:,}, {run.calls - until.calls:,}",
                    f"{_kept(run, middle):,}",
                ]
            )
    head = ["stream", "before", "delay", "calls", "kept after"]
    return markdown(head, rows)


def _kept(run: LearnedRun, middle: int) -> int:
    """Answers of levels in the second half."""
    return sum(
        answered
        for moment in run.moments
        if moment.items > middle
        for name, answered in moment.by.items()
        if name != EXPERT
    )


def shapes_table(shapes: Sequence[ShapeFigures]) -> str:
    """How often and how wide, where agreement is known."""
    rows = [
        [
            one.shape,
            f"{one.missed} of {STREAMS_COUNTED}",
            f"{100 * one.width:.1f}",
            f"{100 * one.fixed_width:.1f}",
        ]
        for one in shapes
    ]
    return markdown(["agreement", "missed", "width", "at one time"], rows)


def detection_table(shapes: Sequence[ShapeFigures]) -> str:
    """How soon the alarm, where agreement is known."""
    rows = [
        [
            one.shape,
            f"{one.false_alarms}",
            _delay(one.delay),
            _delay(one.late_delay),
            f"{one.unnoticed}" if one.delay is not None else NONE,
        ]
        for one in shapes
    ]
    return markdown(["agreement", "false", "delay", "90 %", "unnoticed"], rows)


def _delay(items: float | None) -> str:
    return NONE if items is None else f"{items:,.0f}" if items < float("inf") else "never"
