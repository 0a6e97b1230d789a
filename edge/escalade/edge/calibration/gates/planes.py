"""What every threshold of one gate does, or every pair of two; the others stand still.

By sums over the queries in order of their scores. Knows no objective and no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.calibration.gates.climb import Bools, Floats, Ints, Sample
from escalade.edge.deferral import defers


class _Rest(NamedTuple):
    """What becomes of each query above some gate, the thresholds there standing still."""

    #: `(n,)` whether the answer that stands is right, and the cost of all tiers from here on.
    right: Floats
    cost: Floats


def _above(sample: Sample, thresholds: Sequence[float], tier: int, stop: int) -> list[_Rest]:
    """What becomes of queries that come to `tier`, `tier` + 1, ... `stop` - 1, and stay below it.

    A query that comes to `stop` has nothing right yet and no more cost. `stop` is K + 1 for the
    whole way.
    """
    judged = sample.judged()
    rest = [_Rest(np.zeros(sample.n), np.zeros(sample.n))]
    for at in reversed(range(tier, stop)):
        tau = thresholds[at] if at < sample.gates else None
        own = sample.cost(at, tau)
        if tau is None:
            rest.append(_Rest(judged[:, at], own))
            continue
        on = defers(sample.scores[:, at], tau)
        rest.append(
            _Rest(
                np.where(on, rest[-1].right, judged[:, at]), own + np.where(on, rest[-1].cost, 0.0)
            )
        )
    return rest[::-1]


def _arrives(sample: Sample, thresholds: Sequence[float], tiers: range) -> Bools:
    """`(n,)` whether a query passes the gates of all these tiers."""
    passes = np.ones(sample.n, dtype=np.bool_)
    for at in tiers:
        passes &= defers(sample.scores[:, at], thresholds[at])
    return passes


def line(
    sample: Sample, thresholds: Sequence[float], gate: int, taus: Floats
) -> tuple[Floats, Floats]:
    """Quality and cost of each threshold of one gate, `(m,)` both; the others stand still."""
    below = _above(sample, thresholds, 0, gate)[0]
    here = _arrives(sample, thresholds, range(gate))
    above = _above(sample, thresholds, gate + 1, sample.gates + 1)[0]
    judged, own = sample.judged()[:, gate], _by_level(sample, gate, taus, here)
    at = np.searchsorted(taus, sample.scores[:, gate], side="right")
    right = below.right.sum() + _kept(at, here * judged, taus.size)
    right += _sent(at, here * above.right, taus.size)
    cost = below.cost.sum() + own + _sent(at, here * above.cost, taus.size)
    return right / sample.n, cost / sample.n


def plane(
    sample: Sample, thresholds: Sequence[float], first: int, second: int, a: Floats, b: Floats
) -> tuple[Floats, Floats]:
    """Quality and cost of each pair of thresholds of two gates, `(m_a, m_b)` both.

    A query that comes to the first gate stays there where its score is below a. Otherwise the
    gates between let it stand, or it comes to the second, and stays there or goes on.
    """
    below = _above(sample, thresholds, 0, first)[0]
    here = _arrives(sample, thresholds, range(first))
    between = _above(sample, thresholds, first + 1, second)[0]
    comes = here & _arrives(sample, thresholds, range(first + 1, second))
    above = _above(sample, thresholds, second + 1, sample.gates + 1)[0]
    judged = sample.judged()
    at_a = np.searchsorted(a, sample.scores[:, first], side="right")
    at_b = np.searchsorted(b, sample.scores[:, second], side="right")

    def both(kept_at_b: Floats) -> Floats:
        """Sums over queries that pass a and stay at b."""
        shape = (a.size + 1, b.size + 1)
        cells = np.ravel_multi_index((at_a, at_b), shape)
        table = np.bincount(cells, weights=comes * kept_at_b, minlength=shape[0] * shape[1])
        table = table.reshape(shape)
        # Passing the i-th a takes at_a > i; staying below the j-th b takes at_b <= j.
        return np.cumsum(table[::-1], axis=0)[::-1][1:].cumsum(axis=1)[:, :-1]

    right = both(judged[:, second] - above.right)
    right += (below.right.sum() + _kept(at_a, here * judged[:, first], a.size))[:, None]
    right += _sent(at_a, here * between.right + comes * above.right, a.size)[:, None]
    cost = both(-above.cost)
    cost += (below.cost.sum() + _by_level(sample, first, a, here))[:, None]
    cost += _sent(at_a, here * between.cost + comes * above.cost, a.size)[:, None]
    level = np.searchsorted(sample.levels[second], b)
    own = np.stack([_sent(at_a, comes * table, a.size) for table in sample.paid[second]])
    cost += own[level].T
    return right / sample.n, cost / sample.n


def _by_level(sample: Sample, gate: int, taus: Floats, here: Bools) -> Floats:
    """What the tier of a gate costs under each threshold, over the queries that come to it."""
    of_levels: Floats = (sample.paid[gate] * here).sum(axis=1)
    return of_levels[np.searchsorted(sample.levels[gate], taus)]


def _kept(at: Ints, values: Floats, taus: int) -> Floats:
    """Sums over the queries below each threshold; `at` counts the thresholds that they reach."""
    of_each = np.bincount(at, weights=values, minlength=taus + 1).astype(np.float64)
    return of_each.cumsum()[:-1]


def _sent(at: Ints, values: Floats, taus: int) -> Floats:
    """Sums over the queries that reach each threshold."""
    of_each = np.bincount(at, weights=values, minlength=taus + 1).astype(np.float64)
    return of_each[::-1].cumsum()[::-1][1:]
