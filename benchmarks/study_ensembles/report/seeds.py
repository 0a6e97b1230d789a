"""What holds over a task's seeds: means, spreads, intervals, and choices by validation queries."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from benchmarks.study_ensembles.cascades import Bench, Cascade, Measured
from numpy.typing import NDArray

_RESAMPLES, _SEED = 2000, 1

#: A cascade of a bench; its tiers and thresholds may differ from seed to seed.
Choose = Callable[[Bench], Cascade]


class Interval(NamedTuple):
    """A mean difference, and where it lies with 95 %."""

    value: float
    low: float
    high: float


class Row(NamedTuple):
    """One choice on the measured queries of every seed."""

    titles: list[str]
    measured: list[Measured]

    @property
    def title(self) -> str:
        """Where seeds differ, all of theirs."""
        return "; ".join(dict.fromkeys(self.titles))

    def mean(self, value: Callable[[Measured], float]) -> float:
        """Of a number, over seeds."""
        return statistics.fmean(value(one) for one in self.measured)

    def spread(self, value: Callable[[Measured], float]) -> float:
        """Its standard deviation over seeds; 0 of one."""
        values = [value(one) for one in self.measured]
        return statistics.stdev(values) if len(values) > 1 else 0.0


def row_of(benches: Sequence[Bench], choose: Choose) -> Row:
    """Choose for each seed, and measure."""
    chosen = [choose(bench) for bench in benches]
    measured = [
        bench.measure(one, bench.measured) for bench, one in zip(benches, chosen, strict=True)
    ]
    return Row([one.title for one in chosen], measured)


def gain(one: Row, other: Row) -> Interval:
    """How many more answers of `one` are right, as a share.

    The same queries answer both; seeds and, within each, queries are drawn with replacement.
    """
    differences = [
        a.correct.astype(np.float64) - b.correct
        for a, b in zip(one.measured, other.measured, strict=True)
    ]
    draw = np.random.default_rng(_SEED)
    means = [
        np.mean(
            [
                _redrawn(differences[seed], draw)
                for seed in draw.integers(len(differences), size=len(differences))
            ]
        )
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(np.mean([d.mean() for d in differences])), float(low), float(high))


def _redrawn(values: NDArray[np.float64], draw: np.random.Generator) -> float:
    return float(values[draw.integers(len(values), size=len(values))].mean())


def cheapest_as_good(
    cascades: Callable[[Bench], Sequence[Cascade]], cost: Callable[[Measured], float]
) -> Choose:
    """The cheapest that is no less accurate than the best single model, on validation queries.

    Where none is, the most accurate.
    """

    def choose(bench: Bench) -> Cascade:
        goal = bench.validated[bench.best_single().tiers[0]]
        found = [(one, bench.measure(one, bench.valid)) for one in cascades(bench)]
        good = [pair for pair in found if pair[1].accuracy >= goal]
        if good:
            return min(good, key=lambda pair: cost(pair[1]))[0]
        return max(found, key=lambda pair: pair[1].accuracy)[0]

    return choose


def most_accurate(cascades: Callable[[Bench], Sequence[Cascade]]) -> Choose:
    """The most accurate on validation queries; among equals the one of the least compute."""

    def choose(bench: Bench) -> Cascade:
        def key(one: Cascade) -> tuple[float, float]:
            measured = bench.measure(one, bench.valid)
            return measured.accuracy, -measured.compute

        return max(cascades(bench), key=key)

    return choose
