"""Replays a trace under many thresholds at once; knows no network by name and no plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escalade.edge.trace import Trace
from escalade.simulator.network import Network
from escalade.simulator.recorded import (
    CostModel,
    Floats,
    check_thresholds,
    cost_named,
    scores_of,
    tiers_of,
)
from escalade.simulator.replay.course import Course
from escalade.simulator.replay.grid.sweeping import swept_quantiles
from escalade.simulator.replay.replay import Replay

#: Quantiles of the latency that a grid holds.
_QUANTILES = (0.5, 0.95)


@dataclass(frozen=True)
class Grid:
    """A cascade of T tiers at each of P choices of thresholds.

    Attributes:
        thresholds: `(P, T - 1)`.
        asked: `(P, T)` share of the queries that come to each tier; beyond the first these are
            the deferral rates.
        answered: `(P, T)` share that each tier answers.
        accuracy: `(P,)` share of answers that were judged correct; None without references.
        cost: `(P,)` mean over queries.
        p50_s: `(P,)` median latency.
        p95_s: `(P,)` its 95th percentile.
        mean_s: `(P,)` its mean.
    """

    thresholds: Floats
    asked: Floats
    answered: Floats
    accuracy: Floats | None
    cost: Floats
    p50_s: Floats
    p95_s: Floats
    mean_s: Floats


def replay_grid(
    trace: Trace,
    network: Network,
    thresholds: ArrayLike,
    *,
    cost: str | CostModel = "flops_per_query",
    seed: int = 0,
) -> Grid:
    """`replay_grids` on one network."""
    (grid,) = replay_grids(trace, [network], thresholds, cost=cost, seed=seed)
    return grid


def replay_grids(
    trace: Trace,
    networks: Sequence[Network],
    thresholds: ArrayLike,
    *,
    cost: str | CostModel = "flops_per_query",
    seed: int = 0,
) -> list[Grid]:
    """Replay every query under each choice of thresholds, on each network.

    Args:
        trace: every tier's answer to every query, of at least 2 tiers.
        networks: each a profile for each link.
        thresholds: `(P, T - 1)`, P >= 1.
        cost: what an answer costs; see `COSTS`.
        seed: see `trips_of`.

    Raises:
        SimulatorError: as `replay`, or the trace lacks what the cost model needs.
    """
    model = cost_named(cost)
    model.check(trace.header)
    tiers = tiers_of(trace)
    courses = Course.of(tiers, networks, seed=seed)
    costs = [tier.at_levels(model) for tier in tiers]
    chosen = np.atleast_2d(np.asarray(thresholds, dtype=np.float64))
    if len(tiers) == 2 and courses:  # noqa: PLR2004 - one gate
        for choice in chosen.tolist():
            check_thresholds([tier.info for tier in tiers], choice)
        once = _Once.of(courses[0], costs, chosen)
        return [_swept(course, once) for course in courses]
    return [_one_by_one(course, costs, chosen) for course in courses]


@dataclass(frozen=True)
class _Once:
    """Of one gate, what no network changes: N queries in the order in which they begin to defer.

    Attributes:
        chosen: `(P, 1)` thresholds.
        order: `(N,)` places of the queries.
        deferred: `(P,)` how many of them defer, the first first.
        levels: `(P,)` see `RecordedTier.level`.
        cost: `(P,)` mean over queries.
        accuracy: `(P,)`; None without references.
    """

    chosen: Floats
    order: NDArray[np.intp]
    deferred: NDArray[np.intp]
    levels: NDArray[np.intp]
    cost: Floats
    accuracy: Floats | None

    @staticmethod
    def of(course: Course, costs: Sequence[Floats], chosen: Floats) -> _Once:
        tier, scores = course.tiers[0], scores_of(course.tiers[0])
        order = np.argsort(-scores, kind="stable")
        # `defers`: at the threshold and above it.
        below = np.searchsorted(scores[order][::-1], chosen[:, 0], side="left")
        deferred = np.asarray(len(scores) - below, dtype=np.intp)
        levels = np.array([tier.level(tau) for tau in chosen[:, 0].tolist()], dtype=np.intp)
        spent = np.empty(len(chosen))
        for level in np.unique(levels):
            rows = levels == level
            spent[rows] = _means(costs[0][level][order], costs[1][0][order], deferred[rows])
        accuracy = None
        if course.correct is not None:
            small, large = course.correct[:, order]
            accuracy = _means(small, large - small, deferred)
        return _Once(chosen, order, deferred, levels, spent, accuracy)


def _swept(course: Course, once: _Once) -> Grid:
    """Of one gate: what a threshold changes is added up from the last one, level by level."""
    many = len(once.chosen)
    mean_s, times = np.empty(many), np.empty((many, len(_QUANTILES)))
    for level in np.unique(once.levels):
        rows = np.flatnonzero(once.levels == level)
        rows = rows[np.argsort(once.deferred[rows], kind="stable")]
        deferred = once.deferred[rows]
        below, more = course.seconds[0][level][once.order], course.seconds[1][0][once.order]
        mean_s[rows] = _means(below, more, deferred)
        times[rows] = swept_quantiles(below, below + more, deferred, _QUANTILES)
    share = once.deferred / len(once.order)
    return Grid(
        thresholds=once.chosen,
        asked=np.stack([np.ones(many), share], axis=1),
        answered=np.stack([1.0 - share, share], axis=1),
        accuracy=once.accuracy,
        cost=once.cost,
        p50_s=times[:, 0],
        p95_s=times[:, 1],
        mean_s=mean_s,
    )


def _means(below: Floats, more: Floats, deferred: NDArray[np.intp]) -> Floats:
    """Of N numbers, the first so many of which are added to: `(P,)`."""
    added = np.concatenate([[0.0], more.cumsum()])
    return np.asarray((below.sum() + added[deferred]) / len(below))


def _one_by_one(course: Course, costs: Sequence[Floats], chosen: Floats) -> Grid:
    asked, accuracy, spent, latency = [], [], [], []
    for choice in chosen.tolist():
        replay = Replay.of(course, choice)
        seconds = replay.cascade_s
        asked.append(replay.climb.reached.mean(axis=1))
        spent.append(replay.climb.spent(costs).mean())
        latency.append([*np.quantile(seconds, _QUANTILES), seconds.mean()])
        accuracy.append(replay.accuracy)
    shares, times = np.array(asked), np.array(latency)
    return Grid(
        thresholds=chosen,
        asked=shares,
        answered=shares - np.append(shares[:, 1:], np.zeros((len(shares), 1)), axis=1),
        accuracy=None if None in accuracy else np.array(accuracy, dtype=np.float64),
        cost=np.array(spent),
        p50_s=times[:, 0],
        p95_s=times[:, 1],
        mean_s=times[:, 2],
    )
