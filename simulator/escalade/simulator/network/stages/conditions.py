"""What both directions of a connection share: moments, and what chance does to both; draws it.

Chunks of both directions are asked for in the order of time, give or take a round trip.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from statistics import NormalDist
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.network.profiles import Chance, Profile, Spread
from escalade.simulator.network.stages.stage import Uniform, own_generator

#: As many of the longest period as the moment of a call is drawn from: where another period does
#: not divide that, its parts are met in the wrong share by at most one in a thousand.
_PERIODS = 1000

#: Half of the least number that `random` gives beside 0, which has no quantile.
_ABOVE_0 = 2.0**-54

#: Outages at 10 a second are so many in minutes: longer than chunks are under way.
_KEPT = 4096

_NORMAL = NormalDist()

Drawn = TypeVar("Drawn", float, NDArray[np.float64])


class RoundTrips:
    """A round-trip time that wanders within its spread; each holds for as long as it takes.

    So both ways of a round trip see one time, and round trips have the spread's distribution. The
    standard normal numbers behind them are an AR(1) process, met at any times: over `t` seconds
    correlated by `exp(-t / correlation_s)` (Doob 1942: the one process that is stationary, Gaussian
    and Markov).
    """

    def __init__(self, spread: Spread, median_ms: float, rng: Uniform) -> None:
        self._spread = spread
        self._median_ms = median_ms
        self._rng = own_generator(rng)
        self._drawn_s = self._until_s = -math.inf
        self._z = self._rtt_ms = 0.0

    def at_ms(self, at_s: float) -> float:
        """The time, in ms, of a round trip that is under way at a moment."""
        if at_s >= self._until_s:
            steps = (at_s - self._drawn_s) / self._spread.correlation_s
            kept, new = math.exp(-steps), math.sqrt(-math.expm1(-2 * steps))
            drawn = _NORMAL.inv_cdf(max(_ABOVE_0, self._rng.random()))
            self._z = kept * self._z + new * drawn
            self._rtt_ms = self._spread.rtt_ms(self._median_ms, self._z)
            self._drawn_s, self._until_s = at_s, at_s + self._rtt_ms / 1e3
        return self._rtt_ms


class Absences:
    """Outages by chance, one after the other; both times are exponential, so chance has no age.

    Those that may still be asked for are kept: a moment is the same, whatever was asked before.
    """

    def __init__(self, rng: Uniform, chance: Chance) -> None:
        self._rng = own_generator(rng)
        self._there_s = chance.every_s - chance.lasts_s
        self._away_s = chance.lasts_s
        self._share = chance.share
        self._begins_s: list[float] = []
        self._ends_s: list[float] = []

    def back_s(self, at_s: float) -> float:
        """The first moment from `at_s` on at which the network is there."""
        if not self._ends_s:
            away = self._rng.random() < self._share
            self._add(at_s if away else at_s + self._draw(self._there_s))
        while self._ends_s[-1] <= at_s:
            self._add(self._ends_s[-1] + self._draw(self._there_s))
        k = bisect_right(self._ends_s, at_s)
        return self._ends_s[k] if self._begins_s[k] <= at_s else at_s

    def _add(self, begins_s: float) -> None:
        self._begins_s.append(begins_s)
        self._ends_s.append(begins_s + self._draw(self._away_s))
        if len(self._ends_s) > _KEPT:
            del self._begins_s[: _KEPT // 2], self._ends_s[: _KEPT // 2]

    def _draw(self, mean_s: float) -> float:
        return mean_s * -math.log1p(-self._rng.random())


class Conditions:
    """What a connection meets on a network: the profile's moment, round trips and absences.

    A profile without a spread or outages by chance draws nothing here.
    """

    def __init__(self, profile: Profile, rng: Uniform, *, begins_s: float = 0.0) -> None:
        """Begin.

        Args:
            profile: the network.
            rng: of what both directions share.
            begins_s: when, on the caller's clock, the profile's cycles and traces begin.
        """
        self.begins_s = begins_s
        self.round_trips = (
            None if profile.spread is None else RoundTrips(profile.spread, profile.rtt_ms, rng)
        )
        self.absences = [Absences(rng, one) for one in profile.outages if isinstance(one, Chance)]

    @classmethod
    def at_any_moment(cls, profile: Profile, rng: Uniform) -> Self:
        """Of a call at 0 on the caller's clock, at any moment of the profile's cycles and traces.

        Without those nothing is drawn for it.
        """
        begins_s = begins_from(profile, rng.random()) if profile.period_s else 0.0
        return cls(profile, rng, begins_s=begins_s)


def begins_from(profile: Profile, drawn: Drawn) -> Drawn:
    """When a profile's cycles and traces began, for a call at 0: uniform numbers say how long ago.

    Args:
        profile: with cycles or traces.
        drawn: in [0, 1), one or an array.
    """
    return -(_PERIODS * profile.period_s) * drawn
