"""What a user asks of a cascade: bounds, and what is to be least; knows no trace."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import msgspec

from escalade.simulator.devices import J_PER_WH
from escalade.simulator.errors import PlanError

#: What is least among choices that keep every bound.
Objective = Literal["errors", "calls", "money", "replicas", "flops", "mean", "p95"]
#: What a figure is of; a bound of money or of energy is one of a day. See `planned.NetworkFigures`.
Quantity = Literal[
    "p50_s", "p95_s", "p99_s", "mean_s", "quality", "accuracy", "degraded", "calls", "money",
    "joules", "money_a_day", "battery_share",
]  # fmt: skip

_FINITE = "above 0 and finite"
#: More than everybody asks: what they cost in a day stays a number.
_MOST_A_DAY = 1e18

_ABOVE_0 = (
    "p50_s", "p95_s", "p99_s", "mean_s", "money_a_day", "battery_wh",
)  # fmt: skip


class Limit(NamedTuple):
    """A bound of one quantity."""

    quantity: Quantity
    value: float
    #: Whether it is the least that is asked for; else the most that is allowed.
    at_least: bool

    def missed_by(self, value: float) -> float:
        """By which share of the bound a value misses it; 0 where it keeps it."""
        short = self.value - value if self.at_least else value - self.value
        return max(0.0, short / self.value) if math.isfinite(value) else math.inf


class Day(NamedTuple):
    """What a query's figures come to in a day; None where no bound is of that."""

    #: How many are asked, each at its price.
    queries: float | None = None
    #: Share of a device's battery for each joule that a query takes.
    battery_a_joule: float | None = None


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds, each optional, and what is to be least.

    Attributes:
        p50_s: most seconds of the median answer, > 0; likewise `p95_s`, `p99_s` and `mean_s`.
        quality: least share of the last tier's right answers that the cascade has, in (0, 2].
        accuracy: least share of right answers, in (0, 1].
        degraded: most of the queries, a share in (0, 1], for which a lower answer stands, as no
            other came in time; needs a deadline, or a fleet.
        calls: most of the queries that come to the last tier, a share in (0, 1].
        money_a_day: most money in a day, > 0, at the trace's prices and those of links, and of a
            fleet's replicas.
        queries_a_day: how many are asked, in (0, 1e18]; needed with `money_a_day`.
        battery_share: most of a device's battery in a day, in (0, 1].
        queries_a_device: how many are asked of a device in a day, in (0, 1e18]; needed with
            `battery_share`.
        battery_wh: capacity of that battery, > 0 watt-hours; needed with `battery_share`.
        minimise: among choices that keep the bounds. None: wrong answers (`errors`) where no bound
            is of right ones and the trace has judged answers, for the device alone keeps every
            bound of time and cost; else money where there are prices, else calls, or of a fleet
            replicas.
    """

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    mean_s: float | None = None
    quality: float | None = None
    accuracy: float | None = None
    degraded: float | None = None
    calls: float | None = None
    money_a_day: float | None = None
    queries_a_day: float | None = None
    battery_share: float | None = None
    queries_a_device: float | None = None
    battery_wh: float | None = None
    minimise: Objective | None = None

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            PlanError: names the bound, its range and its value; or there is no bound.
        """
        for name in ("accuracy", "degraded", "calls", "battery_share"):
            _check(name, getattr(self, name), "in (0, 1]", most=1.0)
        for name in _ABOVE_0:
            _check(name, getattr(self, name), _FINITE, most=math.inf)
        for name in ("queries_a_day", "queries_a_device"):
            _check(name, getattr(self, name), f"in (0, {_MOST_A_DAY:g}]", most=_MOST_A_DAY)
        # The cascade may have more right than its last tier, but seldom by much.
        _check("quality", self.quality, "in (0, 2], a share: 0.95 is 95 %", most=2.0)
        if self.minimise is not None and self.minimise not in get_args(Objective):
            known = ", ".join(get_args(Objective))
            raise PlanError(f"minimise must be one of {known}; got {self.minimise!r}")
        for pair in (("money_a_day", "queries_a_day"), ("battery_share", "queries_a_device")):
            lacking = [name for name in pair if getattr(self, name) is None]
            if len(lacking) == 1:
                (given,) = set(pair) - set(lacking)
                raise PlanError(f"{given} needs {lacking[0]} beside it")
        if self.battery_share is not None and self.battery_wh is None:
            raise PlanError(
                "battery_share needs the battery of the device: --device RECORDED=DEVICE, or device"
                " of a fleet's group, of one that has battery_wh (--devices FILE)"
            )
        if not self.limits:
            raise PlanError(
                "a goal needs at least 1 bound: on latency, quality, calls, money or the battery"
            )
        # Of a query what is of a day may be too little for a float, or too much.
        if self.money_a_day is not None and self.queries_a_day is not None:
            _check_of_a_query("money", self.money_a_day / self.queries_a_day)
        if self.battery_share is not None and (taken := self.day.battery_a_joule) is not None:
            _check_of_a_query("joules", self.battery_share / taken if taken else math.inf)

    @property
    def day(self) -> Day:
        """Of one network."""
        battery_a_joule = None
        if self.queries_a_device is not None and self.battery_wh is not None:
            battery_a_joule = self.queries_a_device / (self.battery_wh * J_PER_WH)
        return Day(self.queries_a_day, battery_a_joule)

    @property
    def limits(self) -> list[Limit]:
        """Every bound that was given."""
        named: list[tuple[Quantity, float | None, bool]] = [
            ("p50_s", self.p50_s, False),
            ("p95_s", self.p95_s, False),
            ("p99_s", self.p99_s, False),
            ("mean_s", self.mean_s, False),
            ("quality", self.quality, True),
            ("accuracy", self.accuracy, True),
            ("degraded", self.degraded, False),
            ("calls", self.calls, False),
            ("money_a_day", self.money_a_day, False),
            ("battery_share", self.battery_share, False),
        ]
        return [Limit(name, value, least) for name, value, least in named if value is not None]


def _check_of_a_query(name: str, value: float) -> None:
    _check(f"the bound of a query's {name}", value, _FINITE, most=math.inf)


def _check(name: str, value: float | None, allowed: str, *, most: float) -> None:
    if value is not None and not (0.0 < value <= most and math.isfinite(value)):
        raise PlanError(f"{name} must be {allowed}; got {value:g}")
