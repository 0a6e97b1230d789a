"""What became of queries, counted as they come; knows no event.

Latencies go into a histogram whose bins are floats that begin with the same bits, 256 for each
power of two: a percentile is off by 0.2 % at most, and a billion queries take a few megabytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import Floats, Ints, Model

#: What becomes of a query: the device answers it, the cloud, or a gateway. Degraded: the cloud or
#: the gateway was due and did not answer.
ANSWERED, DEFERRED, DEGRADED, AT_GATEWAY = 0, 1, 2, 3
OUTCOMES = 4

_BITS = 8
_SHIFT = 52 - _BITS
# 2**-20 s (about a microsecond) to 2**20 s (12 days); what is outside counts in the bin at the end.
_LOWEST = (1023 - 20) << _BITS
BINS = 40 << _BITS


class Tally(NamedTuple):
    """Counts of G groups in W bins of time.

    The last bin is of what comes after the end: calls on their way then, and those made again.

    Attributes:
        histogram: `(G, OUTCOMES, BINS)` of latencies, by outcome.
        sums: `(G, OUTCOMES)` of latencies, seconds.
        arrived: `(G, W)` queries by when they came, those of the warm-up too.
        sent: `(G, W)` attempts that came to the cloud.
        refused: `(G, W)` of these, those for which there was no room.
        near_sent: `(G, W)` attempts that came to gateways.
        near_refused: `(G, W)` of these, those for which there was no place.
        degraded: `(G, W)` queries by when their devices or gateways gave up.
        left: `(G,)` queries that left their devices, to gateways where there are any.
        past: `(G,)` queries that went past their gateways to the cloud,
        turned_away: `(G,)` and those that these refused until their devices' own answers stood; of
            both those of the warm-up are left out.
        kept: `(3, K)` of each query in the order in which they end: its key, its outcome, and the
            bits of its latency; empty where nobody asks for single queries.
        size: `(1,)` how many are kept.
    """

    histogram: Ints
    sums: Floats
    arrived: Ints
    sent: Ints
    refused: Ints
    near_sent: Ints
    near_refused: Ints
    degraded: Ints
    left: Ints
    past: Ints
    turned_away: Ints
    kept: Ints
    size: Ints


def empty_tally(groups: int, windows: int, kept: int = 0) -> Tally:
    """One that has counted nothing, in so many bins of a run's time and one after its end."""
    return Tally(
        histogram=np.zeros((groups, OUTCOMES, BINS), dtype=np.int64),
        sums=np.zeros((groups, OUTCOMES)),
        arrived=np.zeros((groups, windows + 1), dtype=np.int64),
        sent=np.zeros((groups, windows + 1), dtype=np.int64),
        refused=np.zeros((groups, windows + 1), dtype=np.int64),
        near_sent=np.zeros((groups, windows + 1), dtype=np.int64),
        near_refused=np.zeros((groups, windows + 1), dtype=np.int64),
        degraded=np.zeros((groups, windows + 1), dtype=np.int64),
        left=np.zeros(groups, dtype=np.int64),
        past=np.zeros(groups, dtype=np.int64),
        turned_away=np.zeros(groups, dtype=np.int64),
        kept=np.zeros((3, kept), dtype=np.int64),
        size=np.zeros(1, dtype=np.int64),
    )


def merge(into: Tally, other: Tally, group: int) -> None:
    """Add the counts of one group's tally, of devices."""
    into.histogram[group] += other.histogram[0]
    into.sums[group] += other.sums[0]
    for name in ("arrived", "degraded", "left"):
        getattr(into, name)[group] += getattr(other, name)[0]


@inner
def window_of(model: Model, at_s: float, windows: int) -> int:
    """The bin of a time until the end."""
    return min(int(at_s / model.seconds * windows), windows - 1)


@inner
def counted_in(model: Model, tally: Tally, at_s: float) -> int:
    """The bin that a tally counts a time in; the last one's what comes after the end."""
    last = tally.sent.shape[1] - 1
    return window_of(model, at_s, last) if at_s < model.seconds else last


@inner
def ended(
    model: Model, tally: Tally, group: int, key: int, outcome: int, came_s: float, at_s: float
) -> None:
    """Count a query that has ended."""
    taken_s = at_s - came_s
    bits = int(np.float64(taken_s).view(np.int64))
    if outcome == DEGRADED:
        tally.degraded[group, counted_in(model, tally, at_s)] += 1
    if came_s >= model.warm_up_s:
        place = min(max((bits >> _SHIFT) - _LOWEST, 0), BINS - 1)
        tally.histogram[group, outcome, place] += 1
        tally.sums[group, outcome] += taken_s
    if tally.kept.shape[1] > 0:
        size = tally.size[0]
        tally.kept[0, size] = key
        tally.kept[1, size] = outcome
        tally.kept[2, size] = bits
        tally.size[0] = size + 1


def quantile(counts: NDArray[np.int64], share: float) -> float:
    """The latency that so large a share of a histogram `(BINS,)` is not above, seconds.

    NaN of an empty one.
    """
    rising = np.cumsum(counts)
    if not rising[-1]:
        return float("nan")
    rank = max(1, int(np.ceil(share * rising[-1])))
    place = int(np.searchsorted(rising, rank))
    edges = np.array([place + _LOWEST, place + _LOWEST + 1], dtype=np.int64) << _SHIFT
    return 0.0 if place == 0 else float(edges.view(np.float64).mean())
