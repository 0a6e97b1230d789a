"""What a choice of thresholds does to queries, with and without intervals; chooses nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.planning.goals import Day, Objective, Quantity
from escalade.simulator.planning.planned import Figure, NetworkFigures
from escalade.simulator.recorded import Floats, flops, is_priced, money
from escalade.simulator.replay import Course, Replay, spared_flops

_QUANTILES = (0.025, 0.975)
_SHARES = {"p50_s": 0.5, "p95_s": 0.95, "p95": 0.95, "p99_s": 0.99}
_SHOWN = get_args(Quantity)
#: Of few queries; of many, whose intervals are narrow, as many as are drawn in a few seconds.
_RESAMPLES, _LEAST_RESAMPLES, _DRAWS = 1000, 100, 20_000_000
#: Draws that memory holds: 16 MB, and as much again of what they stand for.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Outcome:
    """Each of N queries on one network.

    Attributes:
        seconds: `(N,)`.
        called: `(N,)` whether it comes to the last tier.
        correct: `(N,)` of the answer that stands, 0 where there is none; and `last_correct` of the
            last tier's, were all of them heard; None where not judged.
        degraded: `(N,)` whether a better answer was due and did not come in time; of the last tier
            alone, whether none came. None without a deadline.
        money: `(N,)` of members and links; None without prices.
        joules: `(N,)` of the device; None where a part is not known.
        flops: `(N,)`; None where a member has no parameters.
        day: of which they are.
    """

    seconds: Floats
    called: Floats
    correct: Floats | None
    last_correct: Floats | None
    degraded: Floats | None
    money: Floats | None
    joules: Floats | None
    flops: Floats | None
    day: Day

    def of(self, quantity: Quantity | Objective) -> float:
        """A number over all queries; NaN where it cannot be told."""
        return float(self.drawn(quantity, np.arange(len(self.seconds))[None, :])[0])

    def drawn(self, quantity: Quantity | Objective, places: NDArray[np.intp]) -> Floats:
        """The same over each row of places: `(R,)` of `(R, n)`."""
        if quantity in _SHARES:
            return np.asarray(np.quantile(self.seconds[places], _SHARES[quantity], axis=1))
        match quantity:
            case "mean_s" | "mean":
                values: Floats | None = self.seconds
            case "calls":
                values = self.called
            case "errors":
                values = None if self.correct is None else 1.0 - self.correct
            case "accuracy":
                values = self.correct
            case "degraded" | "money" | "joules" | "flops":
                values = getattr(self, quantity)
            case "money_a_day":
                values = _times(self.money, self.day.queries)
            case "battery_share":
                values = _times(self.joules, self.day.battery_a_joule)
            case "quality":
                if self.correct is None or self.last_correct is None:
                    return np.full(len(places), np.nan)
                right = self.last_correct[places].mean(axis=1)
                found: Floats = self.correct[places].mean(axis=1)
                # Of none that are right there is no share, whatever the cascade has.
                return found / np.where(right > 0.0, right, np.nan)
            case _:  # of a fleet
                values = None
        if values is None:
            return np.full(len(places), np.nan)
        mean: Floats = values[places].mean(axis=1)
        return mean


class Measured:
    """The queries of a trace on networks, or of groups of a fleet, whatever the thresholds."""

    def __init__(
        self,
        trace: Trace,
        courses: list[Course],
        groups: Sequence[str] | None = None,
        *,
        days: Sequence[Day] | None = None,
    ) -> None:
        """Measure nothing yet.

        Args:
            trace: every tier's answer to every query.
            courses: of it, on each network.
            groups: of a fleet, each on one of these; None: there is no fleet.
            days: of each of these; None: no bound is of a day.
        """
        self.tiers = tiers = courses[0].tiers
        self.courses = courses
        self._groups: Sequence[str | None] = groups or [None] * len(courses)
        self._days = days or [Day()] * len(courses)
        self._money = [tier.at_levels(money) for tier in tiers] if is_priced(trace.header) else None
        members = [member for tier in tiers for member in tier.info.members]
        known = all(member.parameters for member in members)
        self._flops = [tier.at_levels(flops) for tier in tiers] if known else None
        self._limited = courses[0].setting.deadline_s < math.inf

    @property
    def queries(self) -> int:
        """How many."""
        return len(self.tiers[0].answers)

    def resamples(self) -> Iterator[NDArray[np.intp]]:
        """Places of queries, drawn with replacement: some rows at a time, each `(N,)`."""
        rng = np.random.default_rng(0)
        left = max(_LEAST_RESAMPLES, min(_RESAMPLES, _DRAWS // self.queries))
        while left:
            rows = min(left, max(1, _AT_ONCE // self.queries))
            yield rng.integers(0, self.queries, (rows, self.queries))
            left -= rows

    def at(self, thresholds: Sequence[float]) -> list[Outcome]:
        """Of each network."""
        found = []
        for course, day in zip(self.courses, self._days, strict=True):
            replay = Replay.of(course, thresholds)
            climb = replay.climb
            right = course.correct
            queries = np.arange(self.queries)
            found.append(
                Outcome(
                    seconds=replay.cascade_s,
                    called=climb.reached[-1].astype(np.float64),
                    correct=None if right is None else right[replay.answered_by, queries],
                    last_correct=None if right is None else right[-1],
                    degraded=climb.degraded.astype(np.float64) if self._limited else None,
                    money=_added(
                        None if self._money is None else climb.spent(self._money),
                        replay.link_money,
                    ),
                    joules=replay.joules,
                    flops=None if self._flops is None else _written(replay, self._flops),
                    day=day,
                )
            )
        return found

    def answered(self, thresholds: Sequence[float]) -> list[float]:
        """Share of the queries that each tier answers, on the first network."""
        by = Replay.of(self.courses[0], thresholds).answered_by
        return [float((by == place).mean()) for place in range(len(self.tiers))]

    def alone(self) -> list[Outcome]:
        """Every query to the last tier alone."""
        return [
            Outcome(
                seconds=course.last_only_s,
                called=np.ones(self.queries),
                correct=None
                if course.correct is None
                else np.where(course.last_only_lost, 0.0, course.correct[-1]),
                last_correct=None if course.correct is None else course.correct[-1],
                degraded=course.last_only_lost.astype(np.float64) if self._limited else None,
                money=_added(
                    None if self._money is None else self._money[-1][-1],
                    course.spending.alone_money,
                ),
                joules=course.spending.alone_j,
                flops=None if self._flops is None else self._flops[-1][-1],
                day=day,
            )
            for course, day in zip(self.courses, self._days, strict=True)
        ]

    def figures(self, outcomes: Sequence[Outcome]) -> list[NetworkFigures]:
        """With intervals, by network."""
        drawn: list[dict[Quantity, list[Floats]]] = [
            {name: [] for name in _SHOWN if np.isfinite(one.of(name))} for one in outcomes
        ]
        for places in self.resamples():
            for one, of_one in zip(outcomes, drawn, strict=True):
                for name, found in of_one.items():
                    found.append(one.drawn(name, places))
        rows = []
        for group, course, one, of_one in zip(
            self._groups, self.courses, outcomes, drawn, strict=True
        ):
            known = {name: _figure(one.of(name), found) for name, found in of_one.items()}
            rows.append(
                NetworkFigures(
                    network=course.network.name,
                    group=group,
                    p50_s=known["p50_s"],
                    p95_s=known["p95_s"],
                    p99_s=known["p99_s"],
                    mean_s=known["mean_s"],
                    calls=known["calls"],
                    accuracy=known.get("accuracy"),
                    quality=known.get("quality"),
                    degraded=known.get("degraded"),
                    money=known.get("money"),
                    money_a_day=known.get("money_a_day"),
                    joules=known.get("joules"),
                    battery_share=known.get("battery_share"),
                )
            )
        return rows


def _written(replay: Replay, whole: Sequence[Floats]) -> Floats:
    """FLOPs of each query `(N,)`, less those of tokens that early deferral spares."""
    spent = replay.climb.spent(whole)
    return spent if replay.spared is None else spent - spared_flops(replay)


def _times(values: Floats | None, many: float | None) -> Floats | None:
    return None if values is None or many is None else values * many


def _added(members: Floats | None, links: Floats | None) -> Floats | None:
    """Where one is not known it is nothing; None where both are not."""
    known = [one for one in (members, links) if one is not None]
    return np.asarray(sum(known)) if known else None


def _figure(value: float, drawn: Sequence[Floats]) -> Figure:
    # Of few queries a resample may have no right answer of the last tier.
    low, high = np.nanquantile(np.concatenate(drawn), _QUANTILES)
    return Figure(value=value, low=float(low), high=float(high))
