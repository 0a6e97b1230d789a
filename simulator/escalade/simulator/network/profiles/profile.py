"""One network, by its numbers and their source; knows no clock, no socket, no trace of queries.

Units: round-trip times and jitter in milliseconds, bandwidth in megabits (1e6 bits) a
second, loss as a probability for each packet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from escalade.simulator.errors import ProfileError
from escalade.simulator.network.profiles.episodes import Bursts, Chance, Outage, Spike
from escalade.simulator.network.profiles.ranges import Claim, at_least
from escalade.simulator.network.profiles.series import RateSeries, RttSeries
from escalade.simulator.network.profiles.spreads import Quantiles, Spread

#: Half the median of the sum of two unit exponentials (gamma(2, 1): 1.678347), so that a
#: round trip, which crosses two jittered directions, has its median at `rtt_ms`.
HALF_GAMMA2_MEDIAN = 1.678347 / 2

#: An hour: there and back to Mars takes light at most 45 minutes.
_MOST_RTT_MS = 3.6e6

#: From ten bits a second, less than any radio's, to a terabit.
_LEAST_MBPS, _MOST_MBPS = 1e-5, 1e6

#: Of the time, for all outages together: what comes in has to go out some time.
_MOST_AWAY = 0.99

_MEGA = 1e6


class Radio(NamedTuple):
    """Joules that a device spends on a call, whatever its bytes, and on each of these.

    Both are NaN where no source says.
    """

    call_j: float
    byte_j: float


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network between a device and the cloud, the same in both directions but for bandwidth.

    How round trips vary is said by one of three, or by none: `jitter_ms`, `spread`, `rtt_trace`.
    With `jitter_ms`, the one-way delay of a chunk is `floor_ms + X`, X exponential with mean
    `jitter_ms`: a propagation time plus a queue. The floor lies below half the RTT by just as much
    as puts the median of an unloaded round trip at `rtt_ms`. Else it is half the round trip.

    Attributes:
        name: what `--profile` takes.
        rtt_ms: median round-trip time of an empty network, 0 to an hour.
        jitter_ms: standard deviation of the one-way delay, >= 0 and small enough that
            the floor is not negative.
        spread: how round-trip times spread around `rtt_ms`.
        rtt_trace: round-trip times over time; `rtt_ms` is their median.
        down_mbps: cloud to device; None is unlimited, or as `down_trace` says.
        up_mbps: device to cloud; None is unlimited, or as `up_trace` says.
        down_trace: bandwidth over time, cloud to device.
        up_trace: the same, device to cloud.
        loss: probability that a packet is lost, in [0, 1). A stream cannot lose bytes, so
            a loss shows as a stall of one retransmission timeout (see `stages/loss.py`).
        bursts: losses that come together.
        outages: when nothing passes.
        spikes: when round trips are longer for a while.
        price_per_gb: money for 1e9 bytes, either way; None where no source says.
        joules_per_mb: energy that the device spends on 1e6 bytes, either way; None where no source
            says.
        joules_per_call: energy that the device spends on waking its radio for a call and on the
            tail after it, whatever the bytes; None where no source says.
        source: where the numbers come from.
    """

    name: str
    rtt_ms: float
    jitter_ms: float = 0.0
    spread: Spread | None = None
    rtt_trace: RttSeries | None = None
    down_mbps: float | None = None
    up_mbps: float | None = None
    down_trace: RateSeries | None = None
    up_trace: RateSeries | None = None
    loss: float = 0.0
    bursts: Bursts | None = None
    outages: tuple[Outage, ...] = ()
    spikes: tuple[Spike, ...] = ()
    price_per_gb: float | None = None
    joules_per_mb: float | None = None
    joules_per_call: float | None = None
    source: str

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ProfileError: names the profile, the field, its range and its value.
        """
        for field, value, allowed, holds in self._claims():
            if not holds:
                raise ProfileError(f"profile {self.name!r}: {field} must be {allowed}; got {value}")

    @property
    def floor_ms(self) -> float:
        """The least one-way delay, in milliseconds: `rtt_ms / 2` where round trips do not vary."""
        if self.spread is not None:
            return self.spread.least_ms(self.rtt_ms) / 2
        if self.rtt_trace is not None:
            return min(self.rtt_trace.values) / 2
        return max(0.0, self.rtt_ms / 2 - HALF_GAMMA2_MEDIAN * self.jitter_ms)

    @property
    def radio(self) -> Radio:
        """What calls draw; of a profile with one of both energies the other is 0."""
        if self.joules_per_call is None and self.joules_per_mb is None:
            return Radio(math.nan, math.nan)
        return Radio(self.joules_per_call or 0.0, (self.joules_per_mb or 0.0) / _MEGA)

    @property
    def period_s(self) -> float:
        """The longest time, in seconds, after which something comes round; 0 where nothing does."""
        longest_s = 0.0
        for trace in (self.rtt_trace, self.down_trace, self.up_trace):
            if trace is not None:
                longest_s = max(longest_s, trace.period_s)
        for one in (*self.outages, *self.spikes):
            if not isinstance(one, Chance):
                longest_s = max(longest_s, one.every_s)
        return longest_s

    def _claims(self) -> Iterator[Claim]:
        named = bool(self.name.strip()) and "=" not in self.name
        yield Claim("name", self.name, "not empty and without '=': --profile TIER=NAME", named)
        yield Claim("source", self.source, "not empty", bool(self.source.strip()))
        yield at_least("rtt_ms", self.rtt_ms, 0, _MOST_RTT_MS)
        yield Claim("loss", self.loss, "0 <= loss < 1", 0 <= self.loss < 1)
        yield from self._variation_claims()
        yield from self._bandwidth_claims()
        if self.bursts is not None:
            yield from (one.under("bursts") for one in self.bursts.claims())
        for field in ("outages", "spikes"):
            for k, episode in enumerate(getattr(self, field)):
                yield from (one.under(f"{field}[{k}]") for one in episode.claims())
        away = sum(one.share for one in self.outages)
        allowed = f"at most {_MOST_AWAY:g} of the time together"
        yield Claim("outages", f"{away:g}", allowed, away <= _MOST_AWAY)
        for field, cost in (
            ("price_per_gb", self.price_per_gb),
            ("joules_per_mb", self.joules_per_mb),
            ("joules_per_call", self.joules_per_call),
        ):
            if cost is not None:
                yield at_least(field, cost, 0, 1e6)

    def _variation_claims(self) -> Iterator[Claim]:
        most = self.rtt_ms / 2 / HALF_GAMMA2_MEDIAN
        allowed = f"0 <= jitter_ms <= {most:g} for an rtt_ms of {self.rtt_ms:g}"
        yield Claim("jitter_ms", self.jitter_ms, allowed, 0 <= self.jitter_ms <= most)
        given = {
            "jitter_ms": bool(self.jitter_ms),
            "spread": self.spread is not None,
            "rtt_trace": self.rtt_trace is not None,
        }
        said = [name for name, is_given in given.items() if is_given]
        yield Claim(
            "what round trips vary by", " and ".join(said), f"one of {', '.join(given)}",
            len(said) <= 1,
        )  # fmt: skip
        if self.spread is not None:
            yield from (one.under("spread") for one in self.spread.claims(self.rtt_ms))
        if self.rtt_trace is not None:
            own = self.rtt_trace.median
            allowed = f"{own:g}, the median of rtt_trace"
            yield Claim("rtt_ms", self.rtt_ms, allowed, math.isclose(self.rtt_ms, own))

    def _bandwidth_claims(self) -> Iterator[Claim]:
        for way, mbps, trace in (
            ("down", self.down_mbps, self.down_trace),
            ("up", self.up_mbps, self.up_trace),
        ):
            field = f"{way}_mbps"
            allowed = f"{_LEAST_MBPS:g} <= {field} <= {_MOST_MBPS:g}, or left out for unlimited"
            good = mbps is None or _LEAST_MBPS <= mbps <= _MOST_MBPS
            yield Claim(field, mbps, allowed, good)
            allowed = f"left out beside {way}_trace"
            yield Claim(field, mbps, allowed, mbps is None or trace is None)


def filled(table: dict[str, object]) -> dict[str, object]:
    """A table of a file, with the median that its quantiles or its trace have, if it says none."""
    if "rtt_ms" in table:
        return table
    spread, trace = table.get("spread"), table.get("rtt_trace")
    if isinstance(trace, RttSeries):
        return {**table, "rtt_ms": trace.median}
    if isinstance(spread, dict) and spread.get("kind") == "quantiles":
        try:
            quantiles = msgspec.convert(spread, Quantiles)
        except msgspec.ValidationError:  # whoever reads the whole table says what is wrong
            return table
        return {**table, "rtt_ms": quantiles.median_ms if quantiles.points else 0.0}
    return table
