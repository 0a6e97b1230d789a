"""How far two samples of latencies are from each other; knows no network.

Intervals are of 95 %, by bootstrap of blocks: queries that come one after the other meet one
queue, and blocks keep them together. Both samples are drawn alike, for a query's own time is in
both; and of virtual time with all its draws of the network.

Beside an error stands what the network alone may make of it: live has one draw of it, and each draw
of virtual time is off from all of them by so much. What is beyond that is the machine's, or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from benchmarks.sim_vs_live.pieces import Piece, pooled
from numpy.typing import NDArray

_RESAMPLES, _SEED = 1000, 0
#: Queries of a block under load: some times the longest queue.
_BLOCK = 20
_QUANTILES = (0.5, 0.95, 0.99)
#: What is compared.
STATISTICS = ("p50", "p95", "p99", "mean")

Floats = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """A number, and between what it lies."""

    value: float
    low: float
    high: float


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
    found = np.array([_errors(live[of], virtual[:, of].ravel()) for of in drawn])
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    values = _errors(live, virtual.ravel())
    intervals = [Interval(*each) for each in zip(values, low.tolist(), high.tolist(), strict=True)]
    *errors, ks = intervals
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
    )


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
