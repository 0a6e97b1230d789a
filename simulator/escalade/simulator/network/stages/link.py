"""Bandwidth: a chunk waits for the link and is serialized on it; knows no delay."""

from __future__ import annotations

import math

from escalade.simulator.network.profiles import RateSeries

_BYTES_PER_MEGABIT = 1e6 / 8


def seconds_per_byte(mbps: float) -> float:
    """How long a byte takes at megabits (1e6 bits) a second."""
    return 8 / (mbps * 1e6)


class Link:
    """The same bandwidth all the time."""

    def __init__(self, mbps: float) -> None:
        self._s_per_byte = seconds_per_byte(mbps)
        self._free_s = -math.inf

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When the last byte is on its way."""
        self._free_s = max(enters_s, self._free_s) + nbytes * self._s_per_byte
        return self._free_s


class VaryingLink:
    """Bandwidth over time, which may be 0 for a while."""

    def __init__(self, trace: RateSeries, begins_s: float) -> None:
        self._trace = trace
        self._begins_s = begins_s
        self._free_s = -math.inf

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When the last byte is on its way."""
        self._free_s = max(enters_s, self._free_s)
        if nbytes:
            sent = self._trace.summed(self._free_s - self._begins_s)
            done_s = self._trace.reached_s(sent + nbytes / _BYTES_PER_MEGABIT)
            self._free_s = max(self._free_s, done_s + self._begins_s)
        return self._free_s
