"""How many members answer under each threshold, where they are asked in order; knows no trace.

That number depends on the threshold only by levels: a query is decided after k members where tau
is at most the least score, or above the most and the winner is settled. Between two such bounds of
any query all thresholds ask alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral.agreement.agreement import Agreement, Voice

# 32 MB of doubles: where the bounds of many queries are all different, as those of probabilities
# are, levels are thinned out evenly by rank, and thresholds between two count as the upper one.
_MOST_CELLS = 1 << 22
_FEWEST_LEVELS = 64


class Asked(NamedTuple):
    """How many members answer each query."""

    #: `(V - 1,)` rising: thresholds up to and with the k-th, and above the one before, are of
    #: level k.
    levels: NDArray[np.float64]
    #: `(V, N)`.
    members: NDArray[np.intp]


def asked_of(
    agreement: Agreement,
    queries: Sequence[Sequence[Voice]],
    weights: Sequence[float],
    *,
    side_by_side: bool,
    gated: bool,
    threshold: float | None = None,
) -> Asked:
    """How many members answer.

    Args:
        agreement: of the tier.
        queries: N >= 1, to each what all K members said, in the order they are asked.
        weights: K.
        side_by_side: all of them have begun before any has answered.
        gated: whether a tier above answers what is deferred; else members answer until the winner
            is certain,
        threshold: and until it is so on which side of this the score is; None: of no interest.
            Where it is gated `levels` are of all thresholds, and this is none.
    """
    count = len(queries)
    if side_by_side:
        return Asked(np.empty(0), np.full((1, count), len(weights), dtype=np.intp))
    prefixes = np.array([agreement.prefixes(voices, weights) for voices in queries], dtype=float)
    least, most, settled = prefixes[..., 0], prefixes[..., 1], prefixes[..., 2] > 0
    # After the last member all is known, even if none of them spoke.
    least[:, -1], most[:, -1], settled[:, -1] = np.inf, -np.inf, True
    if not gated:
        if threshold is not None:
            settled &= (least >= threshold) | (most < threshold)
        return Asked(np.empty(0), 1 + np.argmax(settled, axis=1)[None, :])
    levels = np.unique(prefixes[:, :-1, :2])
    levels = levels[np.isfinite(levels)]
    room = max(_FEWEST_LEVELS, _MOST_CELLS // count)
    if levels.size > room:
        levels = levels[np.linspace(0, levels.size - 1, room).astype(np.intp)]
    members = np.empty((levels.size + 1, count), dtype=np.intp)
    for row, tau in enumerate((*levels.tolist(), np.inf)):
        decided = (least >= tau) | ((most < tau) & settled)
        members[row] = 1 + np.argmax(decided, axis=1)
    return Asked(levels, members)
