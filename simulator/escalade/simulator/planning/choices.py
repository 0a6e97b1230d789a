"""What a plan may choose among, and by which queries; measures nothing.

Candidates are a grid over quantiles of each gate's scores. They are compared on one half of the
queries, drawn by the seed; what a plan says of itself is of the other half.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence

import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.errors import PlanError
from escalade.simulator.recorded import Floats, RecordedTier, scores_of

#: Choices of thresholds that are tried, at most.
CHOICES = 2000
#: Queries of a half, at least: below, a 95th percentile is one query's.
_LEAST = 20


def halves_of(trace: Trace, seed: int) -> tuple[Trace, Trace]:
    """Queries to choose by, and others to confirm it.

    Raises:
        PlanError: there are too few.
    """
    count = len(trace.records)
    if count < 2 * _LEAST:
        raise PlanError(
            f"a plan needs at least {2 * _LEAST} queries, half of them to confirm it; the trace has"
            f" {count} that every tier answered"
        )
    order = np.random.default_rng(seed).permutation(count)
    chosen, other = sorted(order[: count // 2]), sorted(order[count // 2 :])
    return (
        trace._replace(records=[trace.records[k] for k in chosen]),
        trace._replace(records=[trace.records[k] for k in other]),
    )


def choices_of(tiers: Sequence[RecordedTier], most: int) -> list[tuple[float, ...]]:
    """Thresholds, one for each gate, of all tiers: a grid over quantiles of each gate's scores."""
    gates = tiers[:-1]
    each = max(int(most ** (1 / len(gates))), 2)
    levels = (_levels(scores_of(tier), each).tolist() for tier in gates)
    return list(itertools.islice(itertools.product(*levels), most))


def _levels(scores: Floats, count: int) -> Floats:
    """Thresholds from that which defers all to one that defers none that can be kept."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.array([0.0])
    # Of the largest float, which nothing finite is above, the query is deferred at any threshold.
    above = min(math.nextafter(finite.max(), math.inf), sys.float_info.max)
    shares = np.linspace(0.0, 1.0, count - 1)
    return np.unique([*np.quantile(finite, shares, method="lower"), above])
