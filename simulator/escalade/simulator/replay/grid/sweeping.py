"""Latency quantiles of one gate at many thresholds at once; knows no trace and no network.

From a threshold to the next lower one some queries change their time: they wait for the next tier
too. All times that there can be are ranked once; which of them are taken is counted in blocks of
ranks, so that a quantile is found in a block, not among all queries, and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.recorded import Floats

# Ranks in a block: about as many as there are blocks of 100,000 queries' times.
_BLOCK = 512


def swept_quantiles(
    below: Floats, above: Floats, deferred: NDArray[np.intp], quantiles: Sequence[float]
) -> Floats:
    """Quantiles of the times of N queries, of which the first so many are deferred.

    Args:
        below: `(N,)` seconds where the tier's answer stands, those first that defer first.
        above: `(N,)` seconds where it does not.
        deferred: `(P,)` how many defer, rising.
        quantiles: Q, each in [0, 1]; numpy's `linear`.

    Returns:
        `(P, Q)`.
    """
    queries = len(below)
    times = np.concatenate([below, above])
    order = np.argsort(times, kind="stable")
    ranked = times[order]
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    taken = _Taken(rank[:queries], len(order))
    positions = np.asarray(quantiles) * (queries - 1)
    low = np.floor(positions).astype(np.intp)
    share, high = positions - low, np.minimum(low + 1, queries - 1)
    found, done = np.empty((len(deferred), len(quantiles))), 0
    for row, count in enumerate(deferred.tolist()):
        if count > done:
            taken.swap(rank[done:count], rank[queries + done : queries + count])
            done = count
        one, other = ranked[taken.places([*low, *high])].reshape(2, -1)
        found[row] = one + (other - one) * share
    return found


class _Taken:
    """Which of so many ranks are taken."""

    def __init__(self, ranks: NDArray[np.intp], most: int) -> None:
        self._blocks = -(-most // _BLOCK)
        self._taken = np.zeros(self._blocks * _BLOCK, dtype=np.bool_)
        self._taken[ranks] = True
        self._counts = self._counted(ranks)

    def swap(self, out: NDArray[np.intp], into: NDArray[np.intp]) -> None:
        """Give ranks back and take others."""
        self._taken[out], self._taken[into] = False, True
        self._counts += self._counted(into) - self._counted(out)

    def places(self, numbers: Sequence[int]) -> list[int]:
        """The ranks of the taken ones of these numbers, from 0."""
        sums = self._counts.cumsum()
        found = []
        for number, block in zip(
            numbers, sums.searchsorted(numbers, "right").tolist(), strict=True
        ):
            start = block * _BLOCK
            before = int(sums[block - 1]) if block else 0
            here = self._taken[start : start + _BLOCK].nonzero()[0]
            found.append(start + int(here[number - before]))
        return found

    def _counted(self, ranks: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.bincount(ranks // _BLOCK, minlength=self._blocks)
