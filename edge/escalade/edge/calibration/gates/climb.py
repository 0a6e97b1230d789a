"""What thresholds do on queries that every tier has answered; knows no trace and no goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import defers

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int_]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """n queries and what each of K + 1 tiers did with every one of them."""

    #: `(n, K)` deferral scores, finite.
    scores: Floats
    #: `(n, K + 1)` whether each tier's answer is right; None where it is not known.
    right: Bools | None
    #: Of each tier `(V, n)`, V >= 1: what its answer costs at each level of its threshold.
    costs: Sequence[Floats]
    #: Of each gate `(V - 1,)`, rising: thresholds up to and with the k-th are of level k.
    #: A vote asks no more members than its threshold takes; other tiers have one level.
    levels: Sequence[Floats] = field(default=())
    #: `(n,)` how likely a policy keeps each query from the tiers elsewhere; None: it keeps none.
    stays: Floats | None = None
    #: The lowest tier elsewhere, at least 1, above which all are; no other, where no policy is.
    first_elsewhere: int = 0

    def __post_init__(self) -> None:
        """A tier without levels costs the same under every threshold."""
        if not self.levels:
            object.__setattr__(self, "levels", [np.empty(0)] * self.gates)

    @property
    def n(self) -> int:
        """How many queries."""
        return len(self.scores)

    @property
    def gates(self) -> int:
        """K, one gate fewer than tiers."""
        return len(self.costs) - 1

    def take(self, places: Sequence[int]) -> Sample:
        """These queries, in this order."""
        chosen = np.asarray(places, dtype=np.intp)
        return Sample(
            scores=self.scores[chosen],
            right=None if self.right is None else self.right[chosen],
            costs=[table[:, chosen] for table in self.costs],
            levels=self.levels,
            stays=None if self.stays is None else self.stays[chosen],
            first_elsewhere=self.first_elsewhere,
        )

    def candidates(self, gate: int) -> Floats:
        """Every threshold of a gate that does something of its own, rising.

        Queries of equal scores are deferred together: a threshold is one of the scores, or lies
        just above all of them. So it is with levels, which cost more or less.
        """
        known = np.union1d(self.scores[:, gate], self.levels[gate])
        return np.append(known, np.nextafter(known[-1], np.inf))

    def judged(self) -> Floats:
        """`(n, K + 1)` how likely the answer is right that stands where a query ends at a tier.

        0 or 1; of a tier elsewhere, from which a policy keeps some, in between: where the query
        stays, the answer of the highest tier on this device stands in its place.
        """
        judged = self.alone()
        if self.stays is not None:
            here = judged[:, self.first_elsewhere - 1, None]
            stays = self.stays[:, None]
            there = judged[:, self.first_elsewhere :]
            judged[:, self.first_elsewhere :] = (1.0 - stays) * there + stays * here
        return judged

    def alone(self) -> Floats:
        """`(n, K + 1)` whether each tier's own answer is right, 0 or 1: whatever a policy says."""
        assert self.right is not None  # noqa: S101 - goals of quality are checked for it
        return self.right.astype(np.float64)

    @cached_property
    def paid(self) -> list[Floats]:
        """`costs`, of tiers elsewhere those of the queries alone that a policy lets go there."""
        if self.stays is None:
            return list(self.costs)
        return [
            table * (1.0 - self.stays) if tier >= self.first_elsewhere else table
            for tier, table in enumerate(self.costs)
        ]

    def cost(self, tier: int, threshold: float | None) -> Floats:
        """`(n,)` what a tier's answers cost under its gate's threshold; None after the last."""
        level = 0 if threshold is None else int(np.searchsorted(self.levels[tier], threshold))
        found: Floats = self.paid[tier][level]
        return found


class Climb(NamedTuple):
    """Where n queries end under given thresholds."""

    #: `(n,)` the tier whose answer stands.
    answered_by: Ints
    #: `(n,)` of every tier that the query came to, together.
    cost: Floats


def climb(sample: Sample, thresholds: Sequence[float]) -> Climb:
    """Send every query up until a gate lets an answer stand (equation 4) or the tiers end.

    Args:
        sample: of K gates.
        thresholds: K.
    """
    reached = np.ones(sample.n, dtype=np.bool_)
    answered_by = np.zeros(sample.n, dtype=np.int_)
    cost = np.zeros(sample.n)
    for tier, tau in enumerate([*thresholds, None]):
        cost += np.where(reached, sample.cost(tier, tau), 0.0)
        if tau is not None:
            reached = reached & defers(sample.scores[:, tier], tau)
            answered_by += reached
    return Climb(answered_by, cost)


def right_under(sample: Sample, thresholds: Sequence[float]) -> Floats:
    """`(n,)` how likely the answer is right that stands; 0 or 1 without a policy."""
    stands = climb(sample, thresholds).answered_by
    return sample.judged()[np.arange(sample.n), stands]
