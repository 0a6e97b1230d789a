"""What the study has found, over its seeds; knows no page."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from benchmarks.study_online.budgets import at_budget
from benchmarks.study_online.runs import MissingError
from benchmarks.study_online.settings import Case, Settings
from benchmarks.study_online.streams import EXPERTS, STREAMS, Shift, Stream
from benchmarks.study_online.work import audited, methods, shifted

from escalade.simulator.learning import LearnedRun


class Mean(NamedTuple):
    """A method at one budget, over its seeds; accuracy and recall in percent."""

    calls: float
    accuracy: float
    #: None of one seed.
    spread: float | None
    recall: float | None
    runs: list[LearnedRun]


#: By levels and method, at each budget; None where no seed is there.
Found = Mapping[str, Mapping[str, Sequence[Mean | None]]]


class Pair(NamedTuple):
    """A stream, and an expert."""

    stream: Stream
    expert: str
    #: For readers.
    title: str


def found_of(settings: Settings, pair: Pair) -> Found:
    """All methods; levels of which nothing is there are left out."""
    found = {levels: _rows(settings, pair, levels) for levels in settings.levels}
    return {levels: rows for levels, rows in found.items() if rows}


def _rows(settings: Settings, pair: Pair, levels: str) -> dict[str, list[Mean | None]]:
    rows: dict[str, list[Mean | None]] = {}
    for first in methods(_cascade(settings, pair, levels)):
        method = f"distilled {first.level}" if first.level else first.method
        rows[method] = [_mean(settings, pair.stream, first, b) for b in pair.stream.budgets]
    return {method: row for method, row in rows.items() if any(row)}


def _mean(settings: Settings, stream: Stream, first: Case, budget: int) -> Mean | None:
    runs = []
    for seed in settings.seeds:
        with suppress(MissingError):
            runs.append(at_budget(settings, first._replace(seed=seed), budget, make=False).run)
    if not runs:
        return None
    accuracies = [100 * (run.accuracy or 0.0) for run in runs]
    recalls = [run.recall.get(stream.recall) or 0.0 for run in runs] if stream.recall else None
    return Mean(
        calls=statistics.fmean(run.calls for run in runs),
        accuracy=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        recall=None if recalls is None else 100 * statistics.fmean(recalls),
        runs=runs,
    )


def audited_of(settings: Settings, pair: Pair, levels: Sequence[str]) -> LearnedRun | None:
    """The first seed's audited cascade, with the last levels that are there."""
    for one in reversed(levels):
        with suppress(MissingError):
            return audited(settings, _cascade(settings, pair, one), make=False)
    return None


def changed_of(settings: Settings, pair: Pair, levels: Sequence[str]) -> list[LearnedRun]:
    """Each seed's cascade whose classes change, with the last levels that are there."""
    for one in reversed(levels):
        first, found = _cascade(settings, pair, one), []
        for seed in settings.seeds:
            with suppress(MissingError):
                again = first._replace(seed=seed)
                found.append(audited(settings, again, shift="classes", make=False))
        if found:
            return found
    return []


class Reordered(NamedTuple):
    """Cascades at all budgets, over budgets and seeds; accuracy in percent."""

    calls: float
    accuracy: float


def reordered_of(settings: Settings, pair: Pair, levels: str) -> dict[Shift, Reordered]:
    """By order, the drawn one first, over seeds of which all runs are there."""
    orders: tuple[Shift, ...] = ("", *pair.stream.orders)
    first = _cascade(settings, pair, levels)
    runs: dict[Shift, list[LearnedRun]] = {order: [] for order in orders}
    for seed in settings.seeds:
        again = first._replace(seed=seed)
        with suppress(MissingError):
            found = {
                order: [
                    shifted(settings, again, budget, order, make=False)
                    for budget in pair.stream.budgets
                ]
                for order in orders
            }
            for order, each in found.items():
                runs[order] += each
    if not runs[""]:
        return {}
    return {
        order: Reordered(
            statistics.fmean(run.calls for run in each),
            statistics.fmean(100 * (run.accuracy or 0.0) for run in each),
        )
        for order, each in runs.items()
    }


def _cascade(settings: Settings, pair: Pair, levels: str) -> Case:
    return Case(pair.stream.name, pair.expert, settings.seeds[0], levels, "cascade")


def pairs_of(settings: Settings) -> list[Pair]:
    """All of the study."""
    return [
        Pair(STREAMS[stream], expert, f"{STREAMS[stream].title}, {EXPERTS[expert][0]}")
        for stream in settings.streams
        for expert in settings.experts
    ]
