"""How far two samples of latencies are from each other; knows no network.

Intervals are of 95 %, by bootstrap of blocks: queries that come one after the other meet one
queue, and blocks keep them together. Both samples are drawn alike, for a query's own time is in
both; and of virtual time with all its draws of the network.

Beside an error stands what the network alone may make of it: live has one draw of it, and each draw
of virtual time is off from all of them by so much. What is beyond that is the machine's, or wrong.

No such error sees a queue that virtual time has not: under load a control of the same rate takes up
what is missing, and gives it to calls in an order of chance. Which of them it is that wait, no
control knows: calls are held against virtual time one by one (`Added`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import scipy.stats
from benchmarks.sim_vs_live.pieces import Piece, pooled
from numpy.typing import NDArray

_RESAMPLES, _SEED = 1000, 0
#: Queries of a block under load: some times the longest queue.
_BLOCK = 20
_QUANTILES = (0.5, 0.95, 0.99)
#: Calls that wait by less are taken to wait as long: sums of seconds are no more exact.
_DECIMALS = 6
#: What is compared.
STATISTICS = ("p50", "p95", "p99", "mean")

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Interval(msgspec.Struct, frozen=True):
    """A number, and between what it lies."""

    value: float
    low: float
    high: float


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What calls take under load beyond their own time, live and in virtual time, one by one.

    On a network that delays all alike, what differs from call to call is the queue. Where virtual
    time adds the same to all, both are 0.
    """

    #: Of ranks (Spearman): a machine's stops are few.
    correlation: Interval
    #: Live seconds for each of virtual time, from the third that it has wait least to the third
    #: that it has wait most: of their medians (Tukey's resistant line).
    slope: Interval


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A piece: of each statistic the live value, seconds, and by what share virtual time is off."""

    profile: str
    tiers: int
    load: str
    queries: int
    live_s: dict[str, float]
    error: dict[str, Interval]
    #: That of each round alone.
    by_round: dict[str, list[float]]
    #: Between what 95 % of the network's draws are off, each as if it were the live one.
    chance: dict[str, Interval]
    #: The largest distance of the two distribution functions.
    ks: Interval
    #: The median of what each query that the device answers is off by; None where there is none.
    query_by_query: Interval | None
    #: Of loaded pieces: of its time, how long calls would keep the cloud at work one by one.
    share: float | None
    #: None of light ones, and of older folders.
    added: Added | None


def compared(rounds: Sequence[Piece], *, sent_only: bool = False) -> Compared:
    """Compare all rounds of a piece together, and each.

    Args:
        rounds: at least 1.
        sent_only: those of its queries alone that the device sends on.
    """
    piece = pooled(rounds)
    live, virtual = _sides(piece, sent_only=sent_only)
    many = len(live)
    block = _BLOCK if piece.load == "loaded" else 1
    rng = np.random.default_rng(_SEED)
    begins = rng.integers(0, many, (_RESAMPLES, -(-many // block)))
    drawn = (begins[..., None] + np.arange(block)).reshape(_RESAMPLES, -1)[:, :many] % many
    *errors, ks = _intervals(lambda of: _errors(live[of], virtual[:, of].ravel()), drawn)
    each = [_off(*_sides(one, sent_only=sent_only)) for one in rounds]
    return Compared(
        profile=piece.profile,
        tiers=piece.tiers,
        load=piece.load,
        queries=many,
        live_s=dict(zip(STATISTICS, _statistics(live).tolist(), strict=True)),
        error=dict(zip(STATISTICS, errors, strict=True)),
        by_round=dict(zip(STATISTICS, np.transpose(each).tolist(), strict=True)),
        chance=chance_of(virtual),
        ks=ks,
        query_by_query=None if sent_only else _query_by_query(piece),
        share=piece.utilisation,
        added=_added(piece, drawn),
    )


def _intervals(found: Callable[[Indices], Sequence[float]], drawn: Indices) -> list[Interval]:
    """Of numbers that are found of some of N, those of all `(N,)` and of draws `(D, N)`."""
    values = found(np.arange(drawn.shape[1]))
    low, high = np.percentile([found(of) for of in drawn], [2.5, 97.5], axis=0).tolist()
    return [Interval(*each) for each in zip(values, low, high, strict=True)]


def _added(piece: Piece, drawn: Indices) -> Added | None:
    if piece.own_s is None or piece.added_s is None:
        return None
    live = np.array(piece.live_s) - piece.own_s
    virtual = np.round(piece.added_s, _DECIMALS)
    both = _intervals(lambda of: added_of(live[of], virtual[of]), drawn)
    return Added(correlation=both[0], slope=both[1])


def added_of(live: Floats, virtual: Floats) -> tuple[float, float]:
    """Correlation and slope, see `Added`, of N calls' seconds `(N,)` beyond their own."""
    ranks = np.array([scipy.stats.rankdata(one) for one in (live, virtual)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return 0.0, 0.0
    correlation = float(np.corrcoef(ranks)[0, 1])
    least, most = np.quantile(virtual, [1 / 3, 2 / 3])
    low, high = virtual <= least, virtual >= most
    apart = float(np.median(virtual[high]) - np.median(virtual[low]))
    slope = float(np.median(live[high]) - np.median(live[low])) / apart if apart else 0.0
    return correlation, slope


def _query_by_query(piece: Piece) -> Interval | None:
    ended = ~(np.array(piece.live_sent) | np.array(piece.virtual_sent))
    if not ended.any():
        return None
    # No network is in them: all draws are one.
    off = np.array(piece.virtual_s[0])[ended] / np.array(piece.live_s)[ended] - 1
    drawn = np.random.default_rng(_SEED).integers(0, len(off), (_RESAMPLES, len(off)))
    low, high = np.percentile(np.median(off[drawn], axis=1), [2.5, 97.5])
    return Interval(float(np.median(off)), float(low), float(high))


def _sides(piece: Piece, *, sent_only: bool) -> tuple[Floats, Floats]:
    """Live seconds `(N,)`, and virtual ones `(D, N)`."""
    live, virtual = np.array(piece.live_s), np.array(piece.virtual_s)
    if sent_only:
        both = np.array(piece.live_sent) & np.array(piece.virtual_sent)
        live, virtual = live[both], virtual[:, both]
    return live, virtual


def chance_of(virtual: Floats) -> dict[str, Interval]:
    """By how much single draws `(D, N)` of the network are off; the value is the root mean square.

    Of 20 draws, as older folders have them, an interval is theirs from end to end.
    """
    every = _statistics(virtual.ravel())
    off = np.array([every / _statistics(one) - 1 for one in virtual])
    low, high = np.percentile(off, [2.5, 97.5], axis=0)
    spread = np.sqrt((off**2).mean(axis=0))
    each = zip(spread.tolist(), low.tolist(), high.tolist(), strict=True)
    return dict(zip(STATISTICS, (Interval(*one) for one in each), strict=True))


def _statistics(seconds: Floats) -> Floats:
    return np.append(np.quantile(seconds, _QUANTILES), seconds.mean())


def _errors(live: Floats, virtual: Floats) -> list[float]:
    return [*_off(live, virtual).tolist(), kolmogorov_smirnov(live, virtual)]


def _off(live: Floats, virtual: Floats) -> Floats:
    """By what share virtual time, of any draws, is off in each statistic."""
    return _statistics(virtual.ravel()) / _statistics(live) - 1


def kolmogorov_smirnov(one: Floats, other: Floats) -> float:
    """The largest distance of two samples' distribution functions, 0 to 1."""
    at = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(of), at, side="right") / len(of) for of in (one, other)]
    return float(np.abs(below[0] - below[1]).max())
