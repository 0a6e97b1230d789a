"""Who answers an item: Algorithm 1, and what it is compared with; knows no model and no stream.

A walk is told how to run a level, and runs those it looks at: no other runs. What it draws depends
on the seed and the item's number alone, so that a run that is resumed draws the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np

from escalade.training.online.levels import Calibrators, Example, Floats, Level

#: Updates of every level before an item stays below the expert: the authors' code.
WARM_UP_UPDATES = 10
#: P(defer) above which a calibrator defers: section 3.2.
_DEFER_ABOVE = 0.5

#: Runs a level, by its number from 0, on the item; gives log p of each class `(K,)`.
Run = Callable[[int], Floats]


@dataclass
class Rung:
    """A level in its place, and how far it has come."""

    name: str
    level: Level
    cost: float
    cache_size: int
    decay: float
    updates: int = 0
    #: Updates when beta last was 1.
    raised_at: int = 0
    cache: list[Example] = field(default_factory=list)

    @property
    def beta(self) -> float:
        """Probability that an item that comes to this level goes straight to the expert."""
        return float(self.decay ** (self.updates - self.raised_at))


class Walk(Protocol):
    """How one method takes an item through the levels."""

    #: Items before this one teach, and answers from it on are measured.
    measured_from: int

    def choose(self, number: int, run: Run) -> int:
        """The level whose answer stands, or their count for the expert.

        Args:
            number: the item's.
            run: see `Run`.
        """
        ...

    def learns(self, number: int) -> Sequence[int]:
        """The levels that learn from the expert's label of an item."""
        ...


def drawn(seed: int, number: int, what: int) -> float:
    """A number in [0, 1) that nothing else of a run depends on."""
    digest = blake2b(f"{seed} {number} {what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


class CascadeWalk:
    """Algorithm 1: up from the first level, while calibrators defer, or beta's coin says expert.

    Where the coin says so the item goes straight to the expert, as the paper's text has it; the
    authors' code goes to the next level.
    """

    measured_from = 0

    def __init__(self, rungs: Sequence[Rung], calibrators: Calibrators, seed: int) -> None:
        self._rungs, self._calibrators, self._seed = rungs, calibrators, seed

    def choose(self, number: int, run: Run) -> int:
        """See `Walk`."""
        if min(rung.updates for rung in self._rungs) < WARM_UP_UPDATES:
            return len(self._rungs)
        for k, rung in enumerate(self._rungs):
            if drawn(self._seed, number, k) < rung.beta:
                break
            if self._calibrators.deferral(k, run(k)) <= _DEFER_ABOVE:
                return k
        return len(self._rungs)

    def learns(self, number: int) -> Sequence[int]:
        """See `Walk`: all."""
        return range(len(self._rungs))


class EnsembleWalk:
    """Online ensemble learning (section 4.2): one is drawn with fixed probabilities."""

    measured_from = 0

    def __init__(self, probabilities: Sequence[float], seed: int) -> None:
        """Take the probabilities of each level and of the expert."""
        self._ends, self._seed = np.cumsum(probabilities), seed

    def choose(self, number: int, run: Run) -> int:
        """See `Walk`."""
        last = len(self._ends) - 1
        chosen = min(
            int(np.searchsorted(self._ends, drawn(self._seed, number, 0), side="right")), last
        )
        if chosen < last:
            run(chosen)
        return chosen

    def learns(self, number: int) -> Sequence[int]:
        """See `Walk`: all."""
        return range(len(self._ends) - 1)


class ExpertWalk:
    """The expert alone."""

    measured_from = 0

    def __init__(self, levels: int) -> None:
        self._levels = levels

    def choose(self, number: int, run: Run) -> int:
        """See `Walk`."""
        return self._levels

    def learns(self, number: int) -> Sequence[int]:
        """See `Walk`: none."""
        return ()


class FixedWalk:
    """Levels that the first items teach, and that are fixed from then on.

    Distillation is the case of one level that answers whatever it is given; what a user would do
    without this is all levels, each with a least confidence.
    """

    def __init__(self, levels: int, train: int, confidence: dict[int, float]) -> None:
        """Take who learns and who answers.

        Args:
            levels: of the cascade.
            train: items that teach.
            confidence: by level, in ascending order: the largest probability that is enough.
        """
        self._levels, self.measured_from = levels, train
        self._confidence = confidence

    def choose(self, number: int, run: Run) -> int:
        """See `Walk`."""
        if number >= self.measured_from:
            for k, least in self._confidence.items():
                if float(np.exp(run(k).max())) >= least:
                    return k
        return self._levels

    def learns(self, number: int) -> Sequence[int]:
        """See `Walk`: those that may answer, from the first items."""
        return tuple(self._confidence) if number < self.measured_from else ()
