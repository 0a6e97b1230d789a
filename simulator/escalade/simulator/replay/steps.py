"""What each threshold of one gate does, the other gates as they are; knows no network and no page.

A slider has a place for each step, and a curve a point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.recorded import Floats, RecordedTier, climb, scores_of
from escalade.simulator.replay.replay import Replay
from escalade.simulator.replay.simulation import Simulation

#: A slider of a hand's width has no more places to tell apart.
_STEPS = 200


@dataclass(frozen=True)
class GateCurve:
    """One gate at each of S steps.

    Attributes:
        thresholds: `(S,)` rising; at the last, infinity, no query of a finite score goes on.
        calls: `(S,)` share of the queries that come to the last tier.
        accuracy: `(S,)` share of the answers that are right; None where some were not judged.
    """

    thresholds: Floats
    calls: Floats
    accuracy: Floats | None


def curves_of(simulation: Simulation) -> dict[str, list[GateCurve]]:
    """Of each trace a curve for each gate, the others at its first thresholds."""
    found: dict[str, list[GateCurve]] = {}
    for row in simulation.summary.traces:
        replays = [replay for name, replay in simulation.replays if name == row.name]
        found[row.name] = [
            gate_curve(replays[0], gate, steps_of(tier, (one.thresholds[gate] for one in replays)))
            for gate, tier in enumerate(replays[0].course.tiers[:-1])
        ]
    return found


def steps_of(tier: RecordedTier, chosen: Iterable[float]) -> Floats:
    """The thresholds of a tier's gate that differ: `(S,)`, rising, the last infinite.

    Every distinct score, or as many of their quantiles as a slider has places; and those chosen.
    """
    scores = scores_of(tier)
    finite = np.unique(scores[np.isfinite(scores)])
    if len(finite) > _STEPS:
        share = np.linspace(0, 1, _STEPS)
        finite = np.quantile(scores[np.isfinite(scores)], share, method="inverted_cdf")
    return np.unique([*finite, *chosen, np.inf])


def step_of(tier: RecordedTier, thresholds: Floats) -> NDArray[np.intp]:
    """How many of some rising thresholds each query's score reaches: `(N,)`.

    At those a query goes on from the tier, at no other.
    """
    return np.searchsorted(thresholds, scores_of(tier), side="right")


def gate_curve(replay: Replay, gate: int, thresholds: Floats) -> GateCurve:
    """The curve of a gate, the other gates as they were replayed.

    Args:
        replay: under any thresholds.
        gate: its place.
        thresholds: of the gate, rising.
    """
    course = replay.course
    # At minus infinity everything that comes to the gate goes on.
    opened = climb(
        course.tiers,
        [*replay.thresholds[:gate], -np.inf, *replay.thresholds[gate + 1 :]],
        kept=course.kept,
    )
    come = np.flatnonzero(opened.reached[gate])
    steps = step_of(course.tiers[gate], thresholds)[come]
    queries, many = replay.queries, len(thresholds)
    calls = _going_on(steps, opened.reached[-1][come], many) / queries
    if course.correct is None:
        return GateCurve(thresholds=thresholds, calls=calls, accuracy=None)
    final = course.correct[opened.answered_by, np.arange(queries)]
    here = course.correct[gate][come]
    right = final.sum() - final[come].sum() + here.sum()
    right = right + _going_on(steps, final[come] - here, many)
    return GateCurve(thresholds=thresholds, calls=calls, accuracy=right / queries)


def _going_on(steps: NDArray[np.intp], values: NDArray[np.generic], many: int) -> Floats:
    """The sum, at each of so many thresholds, over the queries that go on: `(S,)`."""
    added = np.bincount(steps, weights=values, minlength=many + 1)
    return np.asarray(added[::-1].cumsum()[::-1][1:])
