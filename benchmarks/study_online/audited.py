"""Counts how the audit does where the truth is known: coverage, width, alarms; knows no stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from escalade.edge.base import atomic_write
from escalade.training.audit import Audit

_NAME = "audit.json"
STREAMS, KEPT, SHARE, ALPHA = 200, 10_000, 0.05, 0.05
#: Items into a stream at which agreement falls.
FALL = KEPT // 2

_TIME = np.arange(KEPT) / KEPT
#: Probability that a kept answer agrees, over a stream.
SHAPES: dict[str, NDArray[np.float64]] = {
    "0.9 throughout": np.full(KEPT, 0.9),
    "0.65 throughout": np.full(KEPT, 0.65),
    "rises from 0.6 to 0.9": 0.9 - 0.3 * np.exp(-8 * _TIME),
    "falls from 0.9 to 0.8": np.where(_TIME < FALL / KEPT, 0.9, 0.8),
    "falls from 0.9 to 0.7": np.where(_TIME < FALL / KEPT, 0.9, 0.7),
    "falls from 0.9 to 0.15": np.where(_TIME < FALL / KEPT, 0.9, 0.15),
}


class Course(NamedTuple):
    """One audited stream."""

    missed: bool
    width: float
    fixed_width: float
    alarms: list[int]


class ShapeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all streams of one shape."""

    shape: str
    #: Streams whose interval left the truth out at any time.
    missed: int
    #: Means at the end, of the interval and of Clopper and Pearson's from as many audits.
    width: float
    fixed_width: float
    #: Streams with an alarm while agreement had not fallen.
    false_alarms: int
    #: Kept items from the fall to the first alarm, median and 90 % quantile; None without a fall.
    delay: float | None
    late_delay: float | None
    #: Streams in which a fall set nothing off.
    unnoticed: int


def count(say: Callable[[str], None]) -> list[ShapeFigures]:
    """Audit all streams of all shapes; takes minutes."""
    found = []
    for shape, agreement in SHAPES.items():
        say(f"audit: {STREAMS} streams, agreement {shape}")
        courses = [_course(agreement, seed) for seed in range(STREAMS)]
        found.append(_figures(shape, courses, falls=agreement[-1] < agreement[0]))
    return found


def _course(agreement: NDArray[np.float64], seed: int) -> Course:
    agrees = np.random.default_rng([101, seed]).random(KEPT) < agreement
    truth = (np.cumsum(agrees) / np.arange(1, KEPT + 1)).tolist()
    audit, missed, alarms, hits = Audit(SHARE, alpha=ALPHA, seed=seed), False, [], 0
    for item, one in enumerate(agrees.tolist()):
        wanted = audit.wants(item)
        audit.record(one if wanted else None)
        hits += wanted and one
        found = audit.interval()
        missed |= not found.low - 1e-9 <= truth[item] <= found.high + 1e-9
        if audit.alarm:
            alarms.append(item)
    fixed = stats.binomtest(hits, audit.audited).proportion_ci(1 - ALPHA, "exact")
    return Course(missed, found.high - found.low, fixed.high - fixed.low, alarms)


def _figures(shape: str, courses: list[Course], *, falls: bool) -> ShapeFigures:
    fall = FALL if falls else KEPT
    delays = [next((at - fall for at in course.alarms if at >= fall), np.inf) for course in courses]
    return ShapeFigures(
        shape=shape,
        missed=sum(course.missed for course in courses),
        width=float(np.mean([course.width for course in courses])),
        fixed_width=float(np.mean([course.fixed_width for course in courses])),
        false_alarms=sum(any(at < fall for at in course.alarms) for course in courses),
        delay=float(np.median(delays)) if falls else None,
        late_delay=float(np.quantile(delays, 0.9, method="inverted_cdf")) if falls else None,
        unnoticed=sum(delay == np.inf for delay in delays) if falls else 0,
    )


def count_once(out: Path, say: Callable[[str], None]) -> None:
    """Count, unless it was done."""
    if not (out / _NAME).exists():
        found = count(say)
        with atomic_write(out / _NAME) as stream:
            stream.write(msgspec.json.encode(found))


def read_counts(out: Path) -> list[ShapeFigures]:
    """What was counted."""
    return msgspec.json.decode((out / _NAME).read_bytes(), type=list[ShapeFigures])
