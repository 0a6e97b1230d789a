"""Two cascades held against each other, over queries and seeds; knows no arm and no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.study_three.frontier import Floats, Frontier

from escalade.simulator.evaluation import (
    Estimate,
    draw_queries,
    draw_seeds,
    estimate,
    generator,
    mean_over_seeds,
    p_value,
)

RESAMPLES = 1000
#: Costs between the ends at which curves are read; more change an area by less than a
#: thousandth of a point, being between the same few operating points.
_GRID = 101


@dataclass(frozen=True)
class Numbers:
    """What is read off a cascade's curves, `(B,)` each: of all queries first, then of resamples."""

    area: Floats  #: mean quality over all costs from the first tier's to the last model's
    cost: Floats  #: the least cost of the target quality; infinite where it is not reached
    each: tuple[float, ...]  #: the area of each seed, of all queries


@dataclass(frozen=True)
class Contrast:
    """One cascade against another."""

    area: Estimate  #: shares of right answers
    saved: Estimate  #: share of the other's cost at the target quality
    p: float | None  #: no difference in area, two-sided


class Reader:
    """Reads curves off at the same resamples of queries and seeds: differences are paired."""

    def __init__(
        self, queries: int, seeds: int, ends: tuple[float, float], target: float, seed: int = 0
    ) -> None:
        """Draw.

        Args:
            queries: how many each frontier has.
            seeds: how many frontiers a cascade has.
            ends: costs between which an area is taken.
            target: the quality at which costs are compared.
            seed: same seed, same numbers.
        """
        rng = generator(seed)
        everything = np.ones((1, queries))
        self._drawn = np.concatenate([everything, draw_queries(rng, queries, RESAMPLES)])
        self._seeds = np.concatenate([np.arange(seeds)[None], draw_seeds(rng, seeds, RESAMPLES)])
        self._grid, self._target = np.linspace(*ends, _GRID), target

    def numbers(self, frontiers: Sequence[Frontier]) -> Numbers:
        """Of a cascade, one frontier for each seed."""
        each = [self._of_seed(one) for one in frontiers]
        area, cost = (
            mean_over_seeds(np.stack([one[k] for one in each]), self._seeds) for k in range(2)
        )
        return Numbers(area, cost, tuple(float(one[0][0]) for one in each))

    def _of_seed(self, frontier: Frontier) -> tuple[Floats, Floats]:
        costs, qualities = frontier.points(self._drawn)
        areas, reached = np.empty(len(costs)), np.empty(len(costs))
        order = np.argsort(costs, axis=1, kind="stable")
        costs, qualities = (np.take_along_axis(one, order, axis=1) for one in (costs, qualities))
        for row, (cost, quality) in enumerate(zip(costs, qualities, strict=True)):
            areas[row] = np.interp(self._grid, cost, quality).mean()
            reached[row] = _first_at(cost, quality, self._target)
        return areas, reached


def _first_at(cost: Floats, quality: Floats, target: float) -> float:
    """The least cost on the line through the points at which a quality is reached."""
    at = int(np.argmax(quality >= target))
    if quality[at] < target:
        return float("inf")
    if not at:
        return float(cost[0])
    share = (target - quality[at - 1]) / (quality[at] - quality[at - 1])
    return float(cost[at - 1] + share * (cost[at] - cost[at - 1]))


def contrast(one: Numbers, other: Numbers) -> Contrast:
    """How much better the first is than the other."""
    area = one.area - other.area
    with np.errstate(invalid="ignore"):
        saved = 1 - one.cost / other.cost
    return Contrast(_estimate(area), _estimate(saved), p_value(area[1:]))


def level(values: Floats) -> Estimate:
    """A number with its interval."""
    return _estimate(values)


def _estimate(values: Floats) -> Estimate:
    return estimate(float(values[0]), values[1:])
