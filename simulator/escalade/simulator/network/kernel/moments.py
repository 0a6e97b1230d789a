"""What a network is at a moment, as a kernel can be told it; knows no kernel and no clock.

The same draws as of the delay line's stages: a round-trip time that wanders holds for as long as
it takes, and outages by chance come one after the other.
"""

from __future__ import annotations

import random

import msgspec

from escalade.simulator.network.profiles import Cycle, Profile, RateSeries
from escalade.simulator.network.stages import Away, Conditions


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A network as it is now.

    Attributes:
        delay_ms: one way, whatever each packet's own jitter adds.
        up_mbps: device to cloud; None is unlimited, 0 is nothing.
        down_mbps: cloud to device.
    """

    delay_ms: float
    up_mbps: float | None
    down_mbps: float | None


def varies(profile: Profile) -> bool:
    """Whether a network is another at other moments."""
    traces = (profile.rtt_trace, profile.up_trace, profile.down_trace)
    return (
        profile.spread is not None
        or any(trace is not None for trace in traces)
        or bool(profile.outages or profile.spikes)
    )


class Moments:
    """One network over time; asked at times that do not decrease."""

    def __init__(self, profile: Profile, seed: int) -> None:
        """Begin at 0, as the profile's cycles and traces do.

        Args:
            profile: the network.
            seed: of round trips that wander, and of outages by chance.
        """
        self._profile = profile
        shared = Conditions(profile, random.Random(seed))  # noqa: S311 - a simulation, no secret
        self._round_trips = shared.round_trips
        cycles = [one for one in profile.outages if isinstance(one, Cycle)]
        self._away = Away(cycles, shared.absences, shared.begins_s)

    def at(self, at_s: float) -> Moment:
        """What it is, in seconds since it began."""
        profile = self._profile
        away = self._away.leaves_s(at_s, 0) > at_s
        return Moment(
            delay_ms=self._delay_ms(at_s),
            up_mbps=0.0 if away else _mbps(profile.up_mbps, profile.up_trace, at_s),
            down_mbps=0.0 if away else _mbps(profile.down_mbps, profile.down_trace, at_s),
        )

    def _delay_ms(self, at_s: float) -> float:
        profile = self._profile
        if self._round_trips is not None:
            delay_ms = self._round_trips.at_ms(at_s) / 2
        elif profile.rtt_trace is not None:
            delay_ms = profile.rtt_trace.at(at_s) / 2
        else:
            delay_ms = profile.floor_ms
        # The line lets a chunk meet them when it has travelled.
        spiking = (one for one in profile.spikes if one.left_s(at_s + delay_ms / 1e3))
        return delay_ms + sum(one.extra_rtt_ms for one in spiking) / 2


def _mbps(mbps: float | None, trace: RateSeries | None, at_s: float) -> float | None:
    return mbps if trace is None else trace.at(at_s)
