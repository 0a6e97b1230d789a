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
        defers: `(T, N)` which answers do not stand where a tier above is there: of the last none.
        silent: `(T, N)` which tiers give a query that comes to them no answer in time.
        stays: `(N,)` which queries were due at a tier that a policy keeps them from.
    """

    thresholds: tuple[float, ...]
    levels: tuple[int, ...]
    reached: Bools
    defers: Bools
    silent: Bools
    stays: Bools

    @property
    def answered_by(self) -> NDArray[np.intp]:
        """`(N,)` the place of the tier whose answer stands: the highest that gave one."""
        heard = self.reached & ~self.silent
        return np.asarray(len(heard) - 1 - heard[::-1].argmax(axis=0), dtype=np.intp)

    @property
    def degraded(self) -> Bools:
        """`(N,)` whether a better answer was due, and nobody gave it."""
        return np.asarray(self.reached[-1] & self.silent[-1], dtype=np.bool_)

    @property
    def kept_for(self) -> NDArray[np.intp]:
        """`(N,)` of those: the tier that an outbox asks again, the lowest above that is silent."""
        places = np.arange(len(self.reached))[:, None]
        due = self.reached & self.silent & (places > self.answered_by)
        return np.asarray(due.argmax(axis=0), dtype=np.intp)

    @property
    def late_by(self) -> NDArray[np.intp]:
        """`(N,)` of those: the tier whose answer stands once all are in reach again."""
        places = np.arange(len(self.reached))[:, None]
        stands = ~self.defers & (places >= self.kept_for)
        return np.asarray(stands.argmax(axis=0), dtype=np.intp)

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


def climb(
    tiers: Sequence[RecordedTier],
    thresholds: Sequence[float],
    silent: Bools | None = None,
    kept: Bools | None = None,
) -> Climb:
    """Send every query up: on from each tier whose recorded score reaches its threshold.

    As `edge.run` does, a tier that does not answer is passed over, and so is one that a policy
    keeps the query from, which is not asked.

    Args:
        tiers: at least 1.
        thresholds: one for each tier but the last; infinity defers no query of a finite score.
        silent: see `Climb`, never of the first; None: all answer.
        kept: `(T, N)` which queries a policy keeps from which tiers, never the first; None: none.

    Raises:
        SimulatorError: too few or too many thresholds, one that is no number, or a tier without
            scores.
    """
    check_thresholds([tier.info for tier in tiers], thresholds)
    shape = (len(tiers), len(tiers[0].answers))
    due, deferring = np.ones(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    quiet = np.zeros(shape, dtype=np.bool_) if silent is None else silent
    away = np.zeros(shape, dtype=np.bool_) if kept is None else kept
    for k, threshold in enumerate(thresholds):
        deferring[k] = defers(scores_of(tiers[k]), threshold)
        due[k + 1] = due[k] & (deferring[k] | quiet[k] | away[k])
    return Climb(
        thresholds=tuple(thresholds),
        levels=(*(tier.level(tau) for tier, tau in zip(tiers, thresholds, strict=False)), 0),
        reached=due & ~away,
        defers=deferring,
        silent=quiet,
        stays=np.asarray((due & away).any(axis=0), dtype=np.bool_),
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
