"""Replicas under which thresholds keep a goal in a fleet's runs; chooses no thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from escalade.simulator.fleet import RUNS, Took, Trials, fewest
from escalade.simulator.planning.goals import Limit, Quantity

HOURS = 24.0
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


@dataclass(frozen=True)
class Served:
    """A choice with replicas.

    Attributes:
        choice: of thresholds.
        runs: the fewest replicas that are enough in each run that was made.
        missed: by which share the worst bound is missed; 0 where all are kept.
    """

    choice: Choice
    runs: list[int]
    missed: float

    @property
    def replicas(self) -> int:
        """That are enough in each."""
        return max(self.runs)


class Serving:
    """Looks for replicas, on the queries that are chosen by."""

    def __init__(
        self, first: Trials, second: Trials, limits: Sequence[Limit], price_per_hour: float
    ) -> None:
        """Look for none yet.

        Args:
            first: a fleet of the queries that are chosen by.
            second: and of the others, with which it must keep up too.
            limits: of the goal.
            price_per_hour: of a replica.
        """
        self._first, self._second = first, second
        self._served = [limit for limit in limits if limit.quantity in SERVED]
        self._money = [limit for limit in limits if limit.quantity == "money_a_day"]
        self._price = price_per_hour
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
                limit.missed_by(choice.value(limit.quantity, of_group))
                for limit in self._served
                for of_group in took.values()
            ),
            default=0.0,
        )

    def fewest(self, choice: Choice, *, all_runs: bool = False) -> Served:
        """The fewest replicas that keep the goal in all runs, or come nearest.

        More of them miss times by less and money by more: nearest is where the two meet.

        Args:
            choice: of thresholds, of a finite load.
            all_runs: whether to make all of them where the first does not keep it.
        """
        self.tried += 1
        runs: list[int] = []
        worst = 0.0

        def allowed(replicas: int) -> float:
            return max(choice.missed, self.money_missed(choice, replicas))

        for run in range(RUNS):

            @cache
            def missed(replicas: int, run: int = run) -> float:
                return self.missed(choice, replicas, run)

            guess = max(runs, default=0)
            # Bursts come at other times, and as many, in each run.
            least = choice.least if run == 0 else self.load(choice.thresholds, run)[1]
            found = fewest(least, self._first.most, missed, allowed, guess=guess)
            runs.append(found)
            worst = max(worst, missed(found), allowed(max(runs)))
            if worst > 0 and not all_runs:
                break
        return Served(choice, runs, worst)
