"""Quality metrics as sums over queries; knows no rule, no cost and no threshold.

A metric is a row of statistics for each answer, and a function from summed rows to the
score. What a cascade answers at any threshold is then a sum of rows, some of answers given
below a gate and some of those above, so a deferral curve is exact by running sums, and a
bootstrap resample is one more sum. Mean metrics (the score is the sum over the number of
queries) are the metrics of equation 9 of the CAT paper (arXiv 2406.00060), which splits
into A1 and A2; corpus metrics have no such split.

BLEU and chrF are sacrebleu's, with its defaults (Post 2018, arXiv 1804.08771).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from escalade.edge.trace import TierAnswer, TraceRecord
from escalade.simulator.curves.corpus import (
    bleu_row,
    bleu_score,
    bleu_signature,
    chrf_row,
    chrf_score,
    chrf_signature,
)
from escalade.simulator.errors import SimulatorError, unknown
from escalade.simulator.recorded import Floats

References = tuple[str, ...]

#: From N queries and an answer to each, to its rows `(N, S)`.
Statistics = Callable[[Sequence[TraceRecord], Sequence[TierAnswer]], Floats]

#: Rows of answers kept, so that an answer which several traces share is looked at once.
_CACHED_ROWS = 1 << 18


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        name: what `--metric` takes.
        label: what an axis is called.
        statistics: the rows of answers.
        score: summed rows `(S, ...)` and the number of queries, to scores `(...)`.
        higher_is_better: False turns every comparison and the drawn axis round.
        is_mean: the score is the one summed statistic over the number of queries.
        is_share: in [0, 1] and shown in percent; else in points of 100.
        signature: what makes a score comparable with another's, where there is such a thing.
    """

    name: str
    label: str
    statistics: Statistics
    score: Callable[[Floats, float], Floats]
    higher_is_better: bool = True
    is_mean: bool = False
    is_share: bool = True
    signature: Callable[[Sequence[TraceRecord]], str] | None = None

    @property
    def sign(self) -> float:
        """1 where more is better, -1 where less is."""
        return 1.0 if self.higher_is_better else -1.0


def metric_named(metric: str | Metric) -> Metric:
    """The metric of that name; a `Metric` is itself.

    Raises:
        SimulatorError: there is none; the message names the nearest and all.
    """
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise SimulatorError(unknown("metric", metric, METRICS))
    return METRICS[metric]


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance: insertions, deletions and substitutions of one symbol each."""
    above = list(range(len(b) + 1))
    for i, symbol in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (symbol != other)))
        above = row
    return above[-1]


def _mean(sums: Floats, queries: float) -> Floats:
    return np.asarray(sums[0] / queries, dtype=np.float64)


def _recorded(records: Sequence[TraceRecord], answers: Sequence[TierAnswer]) -> Floats:
    """The trace's own judgement of each answer."""
    flags = [answer.correct for answer in answers]
    if unjudged := flags.count(None):
        raise SimulatorError(
            f"{unjudged} of {len(flags)} records have no references, so nothing says whether their"
            " answers are correct; a curve needs at least 1 reference for every query"
        )
    return np.array(flags, dtype=np.float64)[:, None]


def _references(records: Sequence[TraceRecord]) -> list[References]:
    lacking = sum(not record.references for record in records)
    if lacking:
        raise SimulatorError(
            f"{lacking} of {len(records)} records have no references to hold an answer"
            " against; a metric needs at least 1 for every query"
        )
    return [tuple(record.references) for record in records]


def _by_text(row: Callable[[str, References], tuple[float, ...]]) -> Statistics:
    """Statistics from a function of one answer and its references."""
    kept = lru_cache(_CACHED_ROWS)(row)

    def statistics(records: Sequence[TraceRecord], answers: Sequence[TierAnswer]) -> Floats:
        pairs = zip(answers, _references(records), strict=True)
        return np.array([kept(answer.text, known) for answer, known in pairs], dtype=np.float64)

    return statistics


def _exact(text: str, references: References) -> tuple[float]:
    return (float(text in references),)


def _accuracy(text: str, references: References) -> tuple[float]:
    label = text.strip().casefold()
    return (float(any(label == other.strip().casefold() for other in references)),)


def _per_row(text: str, references: References) -> tuple[float, float]:
    """Edits to the nearest reference, and its length; of two as near, the longer one."""
    answer = text.split()
    distances = []
    for reference in map(str.split, references):
        distance = 0 if reference == answer else edit_distance(answer, reference)
        distances.append((distance, -len(reference)))
    distance, length = min(distances)
    return float(distance), float(-length)


def _per_score(sums: Floats, queries: float) -> Floats:
    edits, length = sums
    return np.asarray(edits / np.maximum(length, 1.0), dtype=np.float64)


def _nrefs(records: Sequence[TraceRecord]) -> int:
    """References of each query, or -1 where queries differ, as sacrebleu has it."""
    counts = {len(references) for references in _references(records)}
    return counts.pop() if len(counts) == 1 else -1


#: Every metric by the name that `--metric` takes.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("recorded", "Accuracy", _recorded, _mean, is_mean=True),
        Metric("exact-match", "Exact match", _by_text(_exact), _mean, is_mean=True),
        Metric("accuracy", "Accuracy", _by_text(_accuracy), _mean, is_mean=True),
        Metric(
            "bleu",
            "BLEU",
            _by_text(bleu_row),
            bleu_score,
            is_share=False,
            signature=lambda records: bleu_signature(_nrefs(records)),
        ),
        Metric(
            "chrf",
            "chrF2",
            _by_text(chrf_row),
            chrf_score,
            is_share=False,
            signature=lambda records: chrf_signature(_nrefs(records)),
        ),
        Metric("per", "Phoneme error rate", _by_text(_per_row), _per_score, higher_is_better=False),
    )
}
