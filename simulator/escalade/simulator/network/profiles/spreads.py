"""How round-trip times spread around their median; knows no clock and draws nothing.

A spread turns a standard normal number into a round-trip time (the Gaussian copula: Nelsen, "An
Introduction to Copulas", 2006, section 2.3), so that numbers that are correlated over time give
times that are, and whose distribution is the spread's own. A median stays where it is: 0 gives it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from escalade.simulator.network.profiles.ranges import Claim, above, at_least

#: Neither a year nor a nanosecond is how long a network stays as it is.
_LEAST_S, _MOST_S = 1e-9, 1e7

#: At 3 standard deviations below the median 0.13 % of a normal's times would be negative.
_NORMAL_DEVIATIONS = 3

#: Times as many as the median that a deviation of one makes of it: e ** 3 is 20.
_MOST_SIGMA = 3.0


class _Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every spread has.

    Attributes:
        correlation_s: after how long what was is forgotten: the numbers behind two round trips
            that begin that far apart are correlated by 1/e (AR(1), at any steps). 1 s is an
            assumption: about as long as a call.
    """

    correlation_s: float = 1.0

    def claims(self, rtt_ms: float) -> Iterator[Claim]:
        """What must hold, of a profile with that median."""
        yield at_least("correlation_s", self.correlation_s, _LEAST_S, _MOST_S)


class Normal(_Spread, frozen=True, kw_only=True, tag_field="kind", tag="normal"):
    """A normal distribution; times below 0 (at most 0.13 %) are 0.

    Attributes:
        sd_ms: its standard deviation, at most a third of the median.
    """

    sd_ms: float

    def claims(self, rtt_ms: float) -> Iterator[Claim]:
        """As for all, and the deviation."""
        yield from super().claims(rtt_ms)
        yield at_least("sd_ms", self.sd_ms, 0, rtt_ms / _NORMAL_DEVIATIONS)

    def rtt_ms(self, median_ms: float, z: float) -> float:
        """The round-trip time, in ms, that a standard normal `z` stands for."""
        return max(0.0, median_ms + self.sd_ms * z)

    def least_ms(self, median_ms: float) -> float:
        """No round trip is shorter."""
        return 0.0 if self.sd_ms else median_ms


class Lognormal(_Spread, frozen=True, kw_only=True, tag_field="kind", tag="lognormal"):
    """A log-normal distribution.

    Attributes:
        sigma: standard deviation of the logarithm; the 95th percentile is `exp(1.645 sigma)`
            times the median.
    """

    sigma: float

    def claims(self, rtt_ms: float) -> Iterator[Claim]:
        """As for all, and sigma."""
        yield from super().claims(rtt_ms)
        yield at_least("sigma", self.sigma, 0, _MOST_SIGMA)

    def rtt_ms(self, median_ms: float, z: float) -> float:
        """The round-trip time, in ms, that a standard normal `z` stands for."""
        return median_ms * math.exp(self.sigma * z)

    def least_ms(self, median_ms: float) -> float:
        """No round trip is shorter."""
        return 0.0 if self.sigma else median_ms


class Pareto(_Spread, frozen=True, kw_only=True, tag_field="kind", tag="pareto"):
    """A Pareto distribution: a least time and a heavy tail.

    Attributes:
        shape: `P(longer than t)` falls as `t ** -shape`; the least time is the median by
            `2 ** (1 / shape)`. At most 1 would have no mean.
    """

    shape: float

    def claims(self, rtt_ms: float) -> Iterator[Claim]:
        """As for all, and the shape."""
        yield from super().claims(rtt_ms)
        yield above("shape", self.shape, 1, 1e6)

    def rtt_ms(self, median_ms: float, z: float) -> float:
        """The round-trip time, in ms, that a standard normal `z` stands for."""
        return median_ms * float((2 * _longer(z)) ** (-1 / self.shape))

    def least_ms(self, median_ms: float) -> float:
        """No round trip is shorter."""
        return median_ms * float(2 ** (-1 / self.shape))


class Quantiles(_Spread, frozen=True, kw_only=True, tag_field="kind", tag="quantiles"):
    """What somebody measured: some quantiles, and straight lines between them.

    Attributes:
        points: `[share, ms]`, both increasing; nothing is below the first or above the last.
    """

    points: tuple[tuple[float, float], ...]

    def claims(self, rtt_ms: float) -> Iterator[Claim]:
        """As for all, and that the points are a distribution's, with the profile's median."""
        yield from super().claims(rtt_ms)
        shares = [share for share, _ in self.points]
        times = [ms for _, ms in self.points]
        allowed = "at least 2 pairs [share, ms] with shares in [0, 1] that increase, 0.5 among or"
        allowed += " between them, and times >= 0 that do not decrease"
        good = (
            len(shares) > 1
            and 0 <= shares[0] <= 0.5 <= shares[-1] <= 1  # noqa: PLR2004 - the median
            and all(one < other for one, other in pairwise(shares))
            and 0 <= times[0] <= times[-1] < math.inf
            and all(one <= other for one, other in pairwise(times))
        )
        shown = [list(point) for point in self.points]
        yield Claim("points", shown, allowed, good)
        if good:
            own, allowed = f"{self.median_ms:g} at 0.5", f"{rtt_ms:g} (rtt_ms) at 0.5"
            yield Claim("points", own, allowed, math.isclose(self.median_ms, rtt_ms))

    @property
    def median_ms(self) -> float:
        """What stands at 0.5, in ms."""
        return self._at(0.5)

    def rtt_ms(self, median_ms: float, z: float) -> float:
        """The round-trip time, in ms, that a standard normal `z` stands for."""
        return self._at(1 - _longer(z))

    def least_ms(self, median_ms: float) -> float:
        """No round trip is shorter."""
        return self.points[0][1]

    def _at(self, share: float) -> float:
        after = bisect_right(self.points, share, key=lambda point: point[0])
        if after in {0, len(self.points)}:
            return self.points[max(0, after - 1)][1]
        (low, low_ms), (high, high_ms) = self.points[after - 1 : after + 1]
        return low_ms + (high_ms - low_ms) * (share - low) / (high - low)


Spread = Normal | Lognormal | Pareto | Quantiles


def _longer(z: float) -> float:
    """The share of a standard normal's numbers above `z`."""
    return 0.5 * math.erfc(z / math.sqrt(2))
