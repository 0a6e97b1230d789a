"""Delay: how long a chunk travels, whatever its size; knows no bandwidth and no loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from escalade.simulator.network.profiles import RttSeries, Spike
from escalade.simulator.network.stages.conditions import RoundTrips
from escalade.simulator.network.stages.stage import Uniform

_MS_PER_S = 1e3


class Floor:
    """The same delay all the time."""

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When it is at the other end."""
        return enters_s + self._floor_s


class Jitter:
    """An exponential delay, drawn for each chunk and each way."""

    def __init__(self, jitter_s: float, rng: Uniform) -> None:
        self._jitter_s = jitter_s
        self._rng = rng

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When its queue has let it go."""
        return enters_s + self._jitter_s * -math.log1p(-self._rng.random())


class Spreading:
    """Half of a round-trip time that wanders within a spread, the same one for both directions."""

    def __init__(self, round_trips: RoundTrips) -> None:
        self._round_trips = round_trips

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When it is at the other end."""
        return enters_s + self._round_trips.at_ms(enters_s) / 2 / _MS_PER_S


class Traced:
    """Half of the round-trip time that a trace has at the moment."""

    def __init__(self, trace: RttSeries, begins_s: float) -> None:
        self._trace = trace
        self._begins_s = begins_s

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When it is at the other end."""
        return enters_s + self._trace.at(enters_s - self._begins_s) / 2 / _MS_PER_S


class Spikes:
    """Half of what round trips are longer by while a spike lasts."""

    def __init__(self, spikes: Sequence[Spike], begins_s: float) -> None:
        self._spikes = spikes
        self._begins_s = begins_s

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When it is at the other end."""
        at_s = enters_s - self._begins_s
        extra_ms = sum(one.extra_rtt_ms for one in self._spikes if one.left_s(at_s))
        return enters_s + extra_ms / 2 / _MS_PER_S
