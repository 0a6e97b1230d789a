"""Cascades made of a pool's members: who is in a tier, who answers, and what that costs.

A tier is an ensemble of a size's members, or one of them. A threshold is chosen by validation
queries alone; whatever is measured is measured on the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from benchmarks.study_ensembles.composed import Group, composed
from benchmarks.study_ensembles.pools import MEASURED, VALID
from numpy.typing import NDArray

from escalade.edge.trace import Trace, flops_of
from escalade.simulator.recorded import Floats, RecordedTier, climb, flops, tiers_of

#: The paper's: the least share of members that must agree, and how many members a tier has.
AGREEMENTS, MEMBERS = (2 / 3, 1.0), (2, 3, 4, 5)
#: Of Wisdom-of-Committees: the least probability with which a single member's answer stands.
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
# A share of votes below which a query goes on is a score above its complement, and no share lies
# within this of another.
_BETWEEN = 1e-6
# Of a number of right answers that is a share times a number of queries.
_EXACT = 1e-6
LAST = "last"


class Cascade(NamedTuple):
    """Tiers by their names in a `Bench`, and the threshold after each but the last."""

    tiers: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    #: What it is called.
    title: str = ""


@dataclass(frozen=True)
class Measured:
    """A cascade on N queries.

    Attributes:
        correct: `(N,)` whether the answer is right.
        exits: `(T,)` the share of queries that each tier answers.
        flops: `(N,)` of all members of all tiers that were asked.
        flops_in_turn: `(N,)` where members are asked until the vote is decided.
        flops_published: as the papers count: of the tier that answers alone, its most expensive
            member alone.
        tier_flops: `(T,)` of all of a tier's members, the mean of a query.
        seconds: `(T,)` the mean of a tier's slowest member, as recorded; 0 of one asked elsewhere.
    """

    correct: NDArray[np.bool_]
    answered_by: NDArray[np.intp]
    exits: Floats
    flops: Floats
    flops_in_turn: Floats
    flops_published: float
    tier_flops: Floats
    seconds: Floats

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(self.correct.mean())

    @property
    def compute(self) -> float:
        """FLOPs of a query, of all that ran."""
        return float(self.flops.mean())

    @property
    def last_calls(self) -> float:
        """The share of queries that go over the last link."""
        return float(self.exits[-1]) if len(self.exits) > 1 else 1.0


class Bench:
    """A pool, and every tier that can be made of it."""

    def __init__(self, pool: Trace, sizes: Mapping[str, Sequence[str]]) -> None:
        """Choose who is in which tier, by validation queries.

        Args:
            pool: of `pool_of`, or some of its queries.
            sizes: of `sizes_of`.
        """
        parts = np.array([record.task for record in pool.records])
        self.valid, self.measured = (np.flatnonzero(parts == one) for one in (VALID, MEASURED))
        self._pool = pool
        places = {tier.name: place for place, tier in enumerate(pool.header.tiers)}
        self._places = places
        right = {
            name: float(np.mean([_correct(pool, place, k) for k in self.valid]))
            for name, place in places.items()
        }
        self.validated = right
        #: Of each size, the most accurate first; among equals the cheaper.
        self.ranked = {
            size: sorted(names, key=lambda name: -right[name]) for size, names in sizes.items()
        }
        self.best = {size: ranked[0] for size, ranked in self.ranked.items()}
        #: Whether a large model was asked elsewhere; it is a tier where no member is better.
        self.has_large = "large" in places and "large" not in sizes
        if self.has_large and right["large"] >= max(right.values()):
            self.best["large"] = "large"
        self.sizes = tuple(self.best)
        groups = {name: (name,) for name in places}
        groups |= {
            f"{size} x{count}": tuple(ranked[:count])
            for size, ranked in self.ranked.items()
            for count in MEMBERS
            if count <= len(ranked)
        }
        groups[LAST] = (self.best[self.sizes[-1]],)
        self.members = groups
        self.tiers = dict[str, RecordedTier]()
        self._each, self._in_turn = dict[str, Floats](), dict[str, Floats]()
        self._right = dict[str, NDArray[np.bool_]]()
        self._add([Group(name, members) for name, members in groups.items()])

    def _add(self, groups: Sequence[Group]) -> None:
        made = composed(self._pool, groups, self._places)
        for group, tier in zip(groups, tiers_of(made), strict=True):
            self.tiers[group.name] = tier
            self._each[group.name] = _flops_of_each(tier)
            self._in_turn[group.name] = tier.at_levels(flops)
            right = [bool(answer.correct) for answer in tier.answers]
            self._right[group.name] = np.array(right)

    def measure(self, cascade: Cascade, places: NDArray[np.intp]) -> Measured:
        """What a cascade does on some of the queries."""
        tiers = [self.tiers[name] for name in cascade.tiers]
        climbed = climb(tiers, cascade.thresholds)
        by = climbed.answered_by[places]
        reached = climbed.reached[:, places]
        each = [self._each[name][:, places] for name in cascade.tiers]
        sums = np.stack([one.sum(axis=0) for one in each])
        greatest = np.stack([one.max(axis=0) for one in each])
        right = np.stack([self._right[name][places] for name in cascade.tiers])
        in_turn = climbed.spent([self._in_turn[name] for name in cascade.tiers])[places]
        queries = np.arange(len(places))
        return Measured(
            correct=right[by, queries],
            answered_by=by,
            exits=np.bincount(by, minlength=len(tiers)) / len(places),
            flops=np.where(reached, sums, 0.0).sum(axis=0),
            flops_in_turn=in_turn,
            flops_published=float(greatest[by, queries].mean()),
            tier_flops=sums.mean(axis=1),
            seconds=np.array([_slowest(tier, places) for tier in tiers]),
        )

    def singles(self) -> Iterator[Cascade]:
        """Each member alone, and the large model."""
        for name in (*itertools.chain.from_iterable(self.ranked.values()), *self._large()):
            yield Cascade((name,), (), name)

    def _large(self) -> tuple[str, ...]:
        return ("large",) if self.has_large else ()

    def cautious(self, size: str) -> str:
        """Who stands alone against an ensemble: the size's CAT model; its best where none is."""
        return f"{size}-cat" if f"{size}-cat" in self.validated else self.best[size]

    @property
    def lower(self) -> tuple[str, ...]:
        """Sizes below the last tier."""
        return self.sizes[:-1]

    def best_single(self) -> Cascade:
        """The most accurate one on validation queries; among equals the cheapest."""
        return max(self.singles(), key=lambda one: self.validated[one.tiers[0]])

    def agreeing(self, sizes: Sequence[str], members: int, agreement: float) -> Cascade:
        """A cascade of ensembles (algorithm 1): the last tier is the best single model."""
        threshold = 1.0 - agreement + _BETWEEN
        title = f"{' + '.join(sizes)}, {members} members, {'2/3' if agreement < 1 else 'all'}"
        names = tuple(f"{size} x{members}" for size in sizes)
        return Cascade((*names, LAST), (threshold,) * len(sizes), title)

    def confident(self, sizes: Sequence[str], confidence: float) -> Cascade:
        """Wisdom-of-Committees: the best single model of each size, and one confidence."""
        title = f"{' + '.join(sizes)}, confidence {confidence:g}"
        names = tuple(self.best[size] for size in sizes)
        return Cascade((*names, LAST), (-float(np.log(confidence)),) * len(sizes), title)

    def as_often(self, name: str, share: float) -> Cascade:
        """One member before the last tier, which sends on such a share of validation queries."""
        scores = np.sort(self.tiers[name].score[self.valid])[::-1]
        sent = round(share * len(scores))
        threshold = float(scores[sent - 1]) if sent else float("inf")
        return Cascade((name, LAST), (threshold,), name)

    def under(self, rule: str, size: str, members: int, *, weighted: bool, goal: float) -> Cascade:
        """An ensemble before the last tier, by any agreement, that sends on as few as it may.

        Args:
            rule: of the ensemble, by its name.
            size: of its members.
            members: how many.
            weighted: each voice by its accuracy on validation queries.
            goal: share of them that the cascade is right on at least; where no threshold is, it
                takes the one that is most accurate.
        """
        title = f"{rule}, weighted" if weighted else rule
        name = f"{size} x{members}, {title}"
        if name not in self.tiers:
            who = self.members[f"{size} x{members}"]
            weights = tuple(self.validated[one] for one in who) if weighted else ()
            # Side by side: which of its members decide is not asked for here.
            self._add([Group(name, who, rule, weights, side_by_side=True)])
        score = self.tiers[name].score[self.valid]
        own, last = (self._right[one][self.valid] for one in (name, LAST))
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        # Right answers where the first k are sent on, for each k that divides no equals.
        right = own.sum() + np.append(0, np.cumsum(last[order].astype(int) - own[order]))
        ends = np.append(np.flatnonzero(np.diff(ranked)) + 1, len(ranked))
        sent = np.append(0, ends)
        good = sent[right[sent] >= goal * len(ranked) - _EXACT]
        best = int(good[0]) if len(good) else int(sent[np.argmax(right[sent])])
        threshold = float(ranked[best - 1]) if best else float("inf")
        return Cascade((name, LAST), (threshold,), title)

    def as_costly(self, name: str, flops_each: float) -> Cascade:
        """One member before the last tier, at such a mean compute at most, on validation queries.

        As many are sent on as that pays for, each at its own price: none at least, all at most.
        """
        own, last = (self._each[one][:, self.valid].sum(axis=0) for one in (name, LAST))
        order = np.argsort(-self.tiers[name].score[self.valid], kind="stable")
        spent = own.sum() + last[order].cumsum()
        sent = int((spent <= flops_each * len(order)).sum())
        return self.as_often(name, sent / len(order))

    def subsets(self) -> Iterator[tuple[str, ...]]:
        """Sizes of the tiers below the last, in every way that keeps their order."""
        for count in range(1, len(self.lower) + 1):
            yield from itertools.combinations(self.lower, count)

    def all_agreeing(self) -> list[Cascade]:
        """Every cascade of ensembles."""
        ways = itertools.product(self.subsets(), MEMBERS, AGREEMENTS)
        return [self.agreeing(*way) for way in ways if self.has(*way[:2])]

    def has(self, sizes: Sequence[str], members: int) -> bool:
        """Whether each of these sizes has so many members."""
        return all(members <= len(self.ranked[size]) for size in sizes)

    def all_confident(self) -> list[Cascade]:
        """Every cascade of single models."""
        return [self.confident(*way) for way in itertools.product(self.subsets(), CONFIDENCES)]


def _correct(pool: Trace, tier: int, record: int) -> bool:
    answer = pool.records[record].tiers[tier]
    return answer is not None and bool(answer.correct)


def _flops_of_each(tier: RecordedTier) -> Floats:
    """`(members, N)`."""
    return np.array(
        [
            [flops_of(one, tier.info.members[one.member]) for one in answer.members]
            for answer in tier.answers
        ]
    ).T


def _slowest(tier: RecordedTier, places: NDArray[np.intp]) -> float:
    return float(np.mean([max(m.seconds for m in tier.answers[k].members) for k in places]))
