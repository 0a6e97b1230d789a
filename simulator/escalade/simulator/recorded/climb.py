"""Who answers each query under given thresholds; knows no network and no cost model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import defers
from escalade.edge.trace import TierInfo
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.scores import scores_of
from escalade.simulator.recorded.tiers import Bools, Floats, RecordedTier


@dataclass(frozen=True)
class Climb:
    """N queries on their way up T tiers.

    Attributes:
        thresholds: T - 1, one for each gate.
        levels: T, the level of each tier's threshold.
        reached: `(T, N)` which queries come to each tier.
    """

    thresholds: tuple[float, ...]
    levels: tuple[int, ...]
    reached: Bools

    @property
    def answered_by(self) -> NDArray[np.intp]:
        """`(N,)` the place of the tier whose answer stands."""
        return np.asarray(self.reached.sum(axis=0) - 1, dtype=np.intp)

    def spent(self, tables: Sequence[Floats]) -> Floats:
        """What each query takes, over all tiers that it comes to: `(N,)`.

        Args:
            tables: of each tier, `(V, N)`: see `RecordedTier.at_levels`.
        """
        total = np.zeros(self.reached.shape[1])
        for tier, table in enumerate(tables):
            total += self.spent_at(tier, table)
        return total

    def spent_at(self, tier: int, table: Floats) -> Floats:
        """What each query takes at one tier: `(N,)`, 0 where it does not come to it."""
        return np.where(self.reached[tier], table[self.levels[tier]], 0.0)


def climb(tiers: Sequence[RecordedTier], thresholds: Sequence[float]) -> Climb:
    """Send every query up: on from each tier whose recorded score reaches its threshold.

    Args:
        tiers: at least 1.
        thresholds: one for each tier but the last; infinity defers no query of a finite score.

    Raises:
        SimulatorError: too few or too many thresholds, one that is no number, or a tier without
            scores.
    """
    check_thresholds([tier.info for tier in tiers], thresholds)
    reached = np.ones((len(tiers), len(tiers[0].answers)), dtype=np.bool_)
    for k, threshold in enumerate(thresholds):
        reached[k + 1] = reached[k] & defers(scores_of(tiers[k]), threshold)
    return Climb(
        thresholds=tuple(thresholds),
        levels=(*(tier.level(tau) for tier, tau in zip(tiers, thresholds, strict=False)), 0),
        reached=reached,
    )


def check_thresholds(tiers: Sequence[TierInfo], thresholds: Sequence[float]) -> None:
    """Refuse thresholds that do not fit the gates.

    Raises:
        SimulatorError: too few or too many, or one that is no number.
    """
    if len(thresholds) != len(tiers) - 1:
        raise SimulatorError(
            f"thresholds must be {len(tiers) - 1}, one after each tier of"
            f" {', '.join(tier.name for tier in tiers)} but the last; got {len(thresholds)}"
        )
    for tier, threshold in zip(tiers, thresholds, strict=False):
        if np.isnan(threshold):
            raise SimulatorError(f"threshold of tier {tier.name!r} must be a number; got nan")


def recorded_thresholds(tiers: Sequence[TierInfo]) -> tuple[float, ...]:
    """The thresholds that a trace was recorded with.

    Args:
        tiers: all of a cascade, or the upper ones; the last has no gate.

    Raises:
        SimulatorError: a gate had none.
    """
    found = []
    for tier in tiers[:-1]:
        if tier.threshold is None:
            raise SimulatorError(
                f"the gate after tier {tier.name!r} was recorded without a threshold; give one"
            )
        found.append(tier.threshold)
    return tuple(found)
