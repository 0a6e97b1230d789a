"""Numbers that a call adds to, as cheaply as can be; knows no call, no name, no port.

The library's own counters take a lock each, and its histograms look through their buckets. Here the
event loop alone writes, without either; who reads in another thread may see a call half added, as
between two reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

_ENDLESS = float("inf")


class Spread:
    """A histogram of seconds."""

    __slots__ = ("_bounds", "_counts", "_total_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._total_s = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a duration, or as many that are equal."""
        self._counts[bisect_left(self._bounds, seconds)] += times
        self._total_s += seconds * times

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """What Prometheus reads: how many were at most each bound, and their sum."""
        below, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip((*self._bounds, _ENDLESS), [*self._counts], strict=True):
            below += count
            buckets.append(("+Inf" if bound == _ENDLESS else str(bound), below))
        return buckets, self._total_s
