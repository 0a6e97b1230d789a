"""Replicas under which thresholds keep a goal in a fleet's runs; chooses no thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from escalade.simulator.fleet import RUNS, Took, Trials, fewest
from escalade.simulator.planning.goals import Limit, Quantity

HOURS = 24.0
#: By which share a bound of time is missed where too few are ever answered, times who is not: more
#: than any other, and less where more replicas lose fewer.
_NEVER = 1e9
#: What replicas are for.
TIMES: tuple[Quantity, ...] = ("p50_s", "p95_s", "p99_s", "mean_s")
#: What a fleet's runs say something of; of the rest a query alone does.
SERVED: tuple[Quantity, ...] = (*TIMES, "degraded", "quality", "accuracy")


@dataclass(frozen=True)
class Choice:
    """Thresholds, and what they do where nobody waits for another.

    Attributes:
        thresholds: one for each gate.
        aim: what is to be least, where that is of queries alone.
        accuracy: share of right answers; NaN where not judged.
        last_right: of the last tier alone; likewise.
        missed: by which share the worst bound is missed that no replica does anything for.
        time: most of a time, as a share of its bound; 0 without one.
        load: replicas at work; infinity where the fleet cannot be served.
        least: replicas that keep up with it, then.
        spent_a_day: on members and links.
    """

    thresholds: tuple[float, ...]
    aim: float
    accuracy: float
    last_right: float
    missed: float
    time: float
    load: float
    least: int
    spent_a_day: float

    def value(self, quantity: Quantity, took: Took) -> float:
        """Of one group in a run. Who is degraded or dropped counts as answered wrong."""
        if quantity == "accuracy":
            return self.accuracy - took.degraded
        if quantity == "quality":
            return (self.accuracy - took.degraded) / self.last_right
        return float(getattr(took, quantity))

    def missed_by(self, limit: Limit, took: Took) -> float:
        """By which share a bound is missed."""
        value = self.value(limit.quantity, took)
        return _NEVER * took.degraded if math.isinf(value) else limit.missed_by(value)


@dataclass(frozen=True)
class Served:
    """A choice with replicas.

    Attributes:
        choice: of thresholds.
        replicas: that are enough in each run that was made, or come nearest in the worst.
        runs: the fewest that are enough, or come nearest, in each.
        missed: by which share the worst bound is missed; 0 where all are kept.
    """

    choice: Choice
    replicas: int
    runs: list[int]
    missed: float


class Serving:
    """Looks for replicas, on the queries that are chosen by."""

    def __init__(
        self,
        first: Trials,
        second: Trials,
        limits: Sequence[Limit],
        price_per_hour: float,
        *,
        may_lose: bool = False,
    ) -> None:
        """Look for none yet.

        Args:
            first: a fleet of the queries that are chosen by.
            second: and of the others, with which it must keep up too.
            limits: of the goal.
            price_per_hour: of a replica.
            may_lose: whether a bound of right answers may be missed for those that are degraded.
        """
        self._first, self._second = first, second
        self._served = [limit for limit in limits if limit.quantity in SERVED]
        self._money = [limit for limit in limits if limit.quantity == "money_a_day"]
        self._price = price_per_hour
        self.may_lose = may_lose
        #: Choices that replicas were looked for.
        self.tried = 0

    def load(self, thresholds: Sequence[float], run: int = 0) -> tuple[float, int]:
        """Replicas at work, the more of either half, and how many keep up; infinity where none."""
        load = max(one.load(thresholds, run) for one in (self._first, self._second))
        return load, self._first.least(load) if load < math.inf else self._first.most

    def money_a_day(self, choice: Choice, replicas: int) -> float:
        """Of replicas, members and links."""
        return HOURS * self._price * replicas + choice.spent_a_day

    def money_missed(self, choice: Choice, replicas: int) -> float:
        """By which share a bound of money is missed."""
        spent = self.money_a_day(choice, replicas)
        return max((limit.missed_by(spent) for limit in self._money), default=0.0)

    def missed(self, choice: Choice, replicas: int, run: int) -> float:
        """By which share the worst bound is missed in a run that more replicas may help."""
        took = self._first.run(choice.thresholds, replicas, run)
        return max(
            (
                choice.missed_by(limit, of_group)
                for limit in self._served
                for of_group in took.values()
            ),
            default=0.0,
        )

    def fewest(self, choice: Choice, give_up: float = 0.0) -> Served:
        """The fewest replicas that keep the goal in all runs, or come nearest.

        More of them miss times by less and money by more: nearest is about where the two meet.

        Args:
            choice: of thresholds, of a finite load.
            give_up: what is missed by more in some runs is not looked at in others.
        """
        self.tried += 1

        @cache
        def missed(run: int, replicas: int) -> float:
            return self.missed(choice, replicas, run)

        def allowed(replicas: int) -> float:
            return max(choice.missed, self.money_missed(choice, replicas))

        def worst(replicas: int) -> float:
            return max(allowed(replicas), *(missed(run, replicas) for run in range(len(runs))))

        runs: list[int] = []
        missed_by = 0.0
        for run in range(RUNS):
            # Bursts come at other times, and as many, in each run.
            least = choice.least if run == 0 else self.load(choice.thresholds, run)[1]
            most, guess = self._first.most, max(runs, default=0)
            found = fewest(least, most, partial(missed, run), allowed, guess=guess)
            runs.append(found)
            missed_by = max(missed_by, missed(run, found), allowed(found))
            if missed_by > give_up:
                break
        found, missed_by = max(runs), max(missed_by, allowed(max(runs)))
        if 0 < missed_by <= give_up:
            some = range(max(choice.least, min(runs) - 1), found + 1)
            found = min(some, key=worst)
            missed_by = worst(found)
        return Served(choice, found, runs, missed_by)
