"""Finds the thresholds of several gates that suit an objective best; knows no trace, no goal.

One gate, and two whose scores make at most a million pairs, are searched exactly: everything that
the thresholds can do is looked at. Otherwise two gates at a time are set together, the others
standing still, on thresholds thinned out evenly by rank, and then each gate alone on all it has,
until nothing is gained any more. That is done from a few starts; what is found then cannot be
bettered by moving one gate, and need not be the best there is. No random number is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.calibration.gates.climb import Floats, Sample, climb, right_under
from escalade.edge.calibration.gates.planes import line, plane

#: Pairs of thresholds that are looked at together: 2^20 take a tenth of a second and 50 MB. A
#: search over three gates or more, or one of many searches, looks at so few.
MOST_PAIRS, FEW_PAIRS = 1 << 20, 1 << 14
#: Costs are sums in various orders: what differs by less than this share of it is equal.
ROUNDING = 1e-9

#: Of shares of right answers and mean costs, any shape: what is to be small, the first key first.
Objective = Callable[[Floats, Floats], tuple[Floats, ...]]


class Found(NamedTuple):
    """Thresholds, and what they do on the sample."""

    thresholds: tuple[float, ...]
    quality: float
    cost: float


def best_at_cost(most: float) -> Objective:
    """Most right answers at a mean cost of at most so much; of equally good ones the cheapest."""

    def objective(right: Floats, cost: Floats) -> tuple[Floats, ...]:
        return np.where(cost <= most + ROUNDING * most, 0.0, cost - most), -right, cost

    return objective


def cheapest_at_quality(target: float) -> Objective:
    """The least cost at which so large a share is right; of equally cheap ones the best."""

    def objective(right: Floats, cost: Floats) -> tuple[Floats, ...]:
        return np.where(right >= target - ROUNDING, 0.0, target - right), cost, -right

    return objective


def search(
    sample: Sample,
    objective: Objective,
    *,
    starts: Sequence[Sequence[float]] = (),
    most_pairs: int = MOST_PAIRS,
) -> Found:
    """The thresholds that make an objective smallest; of equally good ones those that defer least.

    Args:
        sample: of K >= 1 gates, judged.
        objective: see `Objective`.
        starts: thresholds to begin at, too, where the search is not exact.
        most_pairs: of thresholds of two gates, to be searched exactly.
    """
    every = [sample.candidates(gate) for gate in range(sample.gates)]
    exact = sample.gates == 1 or (
        sample.gates == 2 and every[0].size * every[1].size <= most_pairs  # noqa: PLR2004
    )
    ends = [tuple(float(one[at]) for one in every) for at in (-1, 0)]
    middle = tuple(float(one[one.size // 2]) for one in every)
    pairs = most_pairs if sample.gates <= 2 else min(most_pairs, FEW_PAIRS)  # noqa: PLR2004
    begun = ends[:1] if exact else [*starts, *ends, middle]
    best: Found | None = None
    for start in begun:
        found = _descend(sample, objective, start, every, pairs, once=exact)
        if best is None or _better(objective, found, best):
            best = found
    assert best is not None  # noqa: S101 - there is a start
    return best


def _descend(
    sample: Sample,
    objective: Objective,
    start: Sequence[float],
    every: Sequence[Floats],
    most_pairs: int,
    *,
    once: bool,
) -> Found:
    """Go down from a start, one or two gates at a time."""
    here = _at(sample, start)
    while True:
        before = here
        for first, second in itertools.combinations(range(sample.gates), 2):
            grids = _thinned(every[first], every[second], most_pairs)
            pair = [
                np.union1d(grid, here.thresholds[gate])
                for grid, gate in zip(grids, (first, second), strict=True)
            ]
            right, cost = plane(sample, here.thresholds, first, second, *pair)
            a, b = np.unravel_index(_smallest(objective(right, cost)), right.shape)
            moved = {first: float(pair[0][a]), second: float(pair[1][b])}
            here = _moved(sample, objective, here, moved)
        if not once or sample.gates == 1:
            for gate in range(sample.gates):
                right, cost = line(sample, here.thresholds, gate, every[gate])
                at = _smallest(objective(right, cost))
                here = _moved(sample, objective, here, {gate: float(every[gate][at])})
        if once or here is before:
            return here


def _moved(
    sample: Sample, objective: Objective, here: Found, thresholds: dict[int, float]
) -> Found:
    """The same place with some gates elsewhere, if that is better."""
    there = _at(sample, [thresholds.get(k, tau) for k, tau in enumerate(here.thresholds)])
    return there if _better(objective, there, here) else here


def _at(sample: Sample, thresholds: Sequence[float]) -> Found:
    quality = float(right_under(sample, thresholds).mean())
    return Found(tuple(thresholds), quality, float(climb(sample, thresholds).cost.mean()))


def _better(objective: Objective, one: Found, other: Found) -> bool:
    """Whether one is better by more than rounding."""
    keys = zip(
        objective(np.array(one.quality), np.array(one.cost)),
        objective(np.array(other.quality), np.array(other.cost)),
        strict=True,
    )
    for mine, others in keys:
        near = ROUNDING * max(abs(float(mine)), abs(float(others)))
        if abs(float(mine) - float(others)) > near:
            return bool(mine < others)
    return False


def _smallest(keys: Sequence[Floats]) -> int:
    """The place of the smallest, by the first key, then the next; of equal ones the last."""
    left = np.arange(keys[0].size)
    for key in keys:
        values = key.ravel()[left]
        least = values.min()
        left = left[values <= least + ROUNDING * abs(least)]
    return int(left[-1])


def _thinned(first: Floats, second: Floats, most: int) -> tuple[Floats, Floats]:
    """Thresholds of two gates, of the longer list fewer, until there are few enough pairs."""
    side = int(np.sqrt(most))
    short = min(first.size, second.size, side)
    return _evenly(first, max(side, most // short)), _evenly(second, max(side, most // short))


def _evenly(values: Floats, most: int) -> Floats:
    """At most so many of them, with both ends."""
    if values.size <= most:
        return values
    kept: Floats = values[np.unique(np.linspace(0, values.size - 1, most).round().astype(int))]
    return kept
