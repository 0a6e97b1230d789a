"""Thresholds that keep a cascade nearly as good as its last tier, guaranteed; knows no trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from escalade.edge.calibration.gates.climb import Sample, climb, right_under
from escalade.edge.calibration.gates.search import FEW_PAIRS, cheapest_at_quality, search
from escalade.edge.calibration.risk import p_mean_reaches
from escalade.edge.calibration.thresholds import threshold_within

# The losses at which a path has a vector of thresholds, in units of epsilon: below 0 where a
# cascade is better than its last tier, above 1 since the queries that order the tests flatter it.
_LOSSES = np.linspace(-1.0, 2.0, 49)
# The seed of the order in which evidence is weighed.
_ORDER = 1


def thresholds_within(
    test: Sample,
    ordering: Sample | None,
    epsilon: float,
    delta: float,
    lowest: Sequence[float],
) -> tuple[float, ...] | None:
    """The thresholds furthest along a path that can be certified to cost at most epsilon.

    The risk of thresholds `tau = (tau_1, ..., tau_K)` is `R(tau) = E[last tier right - cascade
    right]`: by how much the cascade's share of right answers lies below the last tier's. Where a
    policy keeps queries here the cascade's is the answer that stands, and the last tier's its own.

    What is proven: with probability at least `1 - delta` over the queries of `test`, the
    thresholds returned have `R(tau) <= epsilon`, for any number of gates and any dependence of
    their scores. By learn-then-test with fixed-sequence testing (Angelopoulos et al. 2021, arXiv
    2110.01052, theorem 1): vectors are tested one after the other along one path, each at level
    delta, until one is not rejected. The path is fixed before `test` is looked at: it begins where
    every query is deferred, and goes on to ever cheaper vectors, which `ordering` finds. With one
    gate the order is that of all doubles from the lowest up, and takes no queries: see
    `threshold_within`. Assumptions and proof are in docs/deferral.md.

    Args:
        test: of K gates, judged; shuffled here, as `threshold_within` does.
        ordering: queries that are not in `test`; with one gate it is not looked at.
        epsilon: in (0, 1).
        delta: in (0, 1).
        lowest: of each gate, a threshold that defers every query there can be.

    Returns:
        None where not even deferring all these queries can be told from a risk above epsilon:
        too few queries.
    """
    assert test.right is not None  # noqa: S101 - goals of quality are checked for it
    if test.gates == 1:
        small, large = test.right.T
        found = threshold_within(test.scores[:, 0], small, large, epsilon, delta, stays=test.stays)
        return None if found is None else (found.threshold,)
    assert ordering is not None  # noqa: S101 - several gates are not tested without
    order = np.random.default_rng(_ORDER).permutation(test.n)
    last = test.alone()[:, -1]
    certified = None
    for taus in path_of(ordering, epsilon, lowest):
        loss = (last - right_under(test, taus))[order]
        if p_mean_reaches(loss, epsilon, delta) > delta:
            break
        certified = taus
    return certified


def path_of(ordering: Sample, epsilon: float, lowest: Sequence[float]) -> list[tuple[float, ...]]:
    """Vectors of thresholds to test, from the safest to the cheapest.

    The first defers everything; then come the cheapest vectors that lose no more than a little,
    a little more, ... to the last tier, as far as each is cheaper than the one before.

    Args:
        ordering: of K gates, judged.
        epsilon: what the tests will be of.
        lowest: see `thresholds_within`.
    """
    path = [tuple(lowest)]
    cost = float(climb(ordering, lowest).cost.mean())
    reached = float(ordering.alone()[:, -1].mean())
    for loss in _LOSSES:
        objective = cheapest_at_quality(reached - epsilon * float(loss))
        found = search(ordering, objective, starts=path[-1:], most_pairs=FEW_PAIRS)
        if found.cost < cost:
            path.append(found.thresholds)
            cost = found.cost
    return path
