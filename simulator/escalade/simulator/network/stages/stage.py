"""What every stage is; knows none."""

from __future__ import annotations

import random
from typing import Protocol


class Uniform(Protocol):
    """A seeded generator: `random.Random` and `numpy.random.Generator` both are one."""

    def random(self) -> float:
        """The next number, uniform in [0, 1)."""
        ...


def own_generator(rng: Uniform) -> Uniform:
    """For what draws now more, now less: whoever draws after it draws the same."""
    return random.Random(rng.random())  # noqa: S311 - a simulation, no secret


class Stage(Protocol):
    """One impairment of one direction: a pure state machine, which need not keep chunks in order.

    Times are seconds on whatever clock the caller has.
    """

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When a chunk of `nbytes` that comes in at `enters_s` goes out: never before."""
        ...
