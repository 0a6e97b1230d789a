"""Models that may vote together, as columns of a trace: who says what at which cost.

Counts no votes. Every model is there with a whole answer to every query, whichever tier of the
trace it was a member of: what others would have said had they been asked is never made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import VOTE, Agreement, Medoid, Vote, agreement_named
from escalade.edge.trace import MemberAnswer, MemberInfo, Trace
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded import CostModel, Floats, flops, has_price, money, seconds

#: What a budget is counted in, for one query.
CostName = Literal["flops", "money", "seconds"]

_MODELS: dict[CostName, CostModel] = {"flops": flops, "money": money, "seconds": seconds}

#: The places of a member in a trace: of its tier, and among the tier's members.
Place = tuple[int, int]


@dataclass(frozen=True)
class Zoo:
    """What M models said to N queries.

    Attributes:
        names: M, what messages and results call them; each another.
        said: `(M, N)`; of one query, equal numbers are answers that the agreement takes for equal.
        right: `(M, N)` whether an answer is among the references.
        costs: `(M, N)` what an answer cost.
        cost: what that is counted in.
        unit: `FLOPs`, `s`, or the trace's currency.
        side_by_side: members would run at the same time, and not one after the other.
        agreement: who wins among them.
        weights: M, of their voices; empty where all have one.
        texts: M times N, what they said, where more than its equality counts; else empty.
    """

    names: list[str]
    said: NDArray[np.intp]
    right: NDArray[np.bool_]
    costs: Floats
    cost: CostName
    unit: str
    side_by_side: bool = False
    agreement: Agreement = field(default_factory=Vote)
    weights: tuple[float, ...] = ()
    texts: list[list[str]] = field(default_factory=list)

    @property
    def queries(self) -> int:
        """N."""
        return int(self.said.shape[1])

    def take(self, queries: Sequence[int]) -> Zoo:
        """These queries alone."""
        places = np.array(queries, dtype=np.intp)
        return replace(
            self,
            said=self.said[:, places],
            right=self.right[:, places],
            costs=self.costs[:, places],
            texts=[[row[place] for place in places] for row in self.texts],
        )

    def weights_of(self, order: Sequence[int]) -> tuple[float, ...]:
        """Of the voices of some, in their order."""
        return tuple(self.weights[one] if self.weights else 1.0 for one in order)

    def weighted(self, weights: Sequence[float]) -> Zoo:
        """The same where voices weigh this."""
        return replace(self, weights=tuple(weights))

    def by_accuracy(self) -> list[float]:
        """M weights, of how often each is right here, in (0, 1): Laplace's rule of succession.

        Four digits of them, which a file shows as they are.
        """
        shares = (self.right.sum(axis=1) + 1) / (self.queries + 2)
        return [float(f"{share:.4g}") for share in shares]

    def spent(self, order: Sequence[int], asked: NDArray[np.intp]) -> Floats:
        """What each query costs, `(N,)`, where these members run, and `asked` `(N,)` of them.

        Of members side by side all may have begun before one has answered: all are paid for, and
        time passes once.
        """
        costs = self.costs[list(order)]
        if not self.side_by_side:
            total = np.cumsum(costs, axis=0)
            return np.asarray(total[asked - 1, np.arange(self.queries)], dtype=np.float64)
        whole = costs.max(axis=0) if self.cost == "seconds" else costs.sum(axis=0)
        return np.asarray(whole, dtype=np.float64)


def places_of(trace: Trace, digests: Sequence[str], names: Sequence[str]) -> list[Place]:
    """Where a trace has the answers of some artifacts.

    Args:
        trace: whose header says what answered.
        digests: M, over what decides an artifact's answers (`MemberInfo.program_sha256`).
        names: M, for messages.

    Raises:
        SimulatorError: one of them did not answer here.
    """
    known = {
        info.program_sha256: (k, m)
        for k, tier in enumerate(trace.header.tiers)
        for m, info in enumerate(tier.members)
    }
    for digest, name in zip(digests, names, strict=True):
        if digest not in known:
            there = [info.name for tier in trace.header.tiers for info in tier.members]
            raise SimulatorError(
                f"model {name!r} ({digest[:12]}) is no member of the trace, which has"
                f" {', '.join(there)}; members must be the very artifacts that were recorded"
            )
    return [known[digest] for digest in digests]


def zoo_of(
    trace: Trace,
    places: Sequence[Place],
    names: Sequence[str],
    cost: CostName,
    *,
    side_by_side: bool = False,
    agreement: str = VOTE,
) -> Zoo:
    """The columns of some members of a trace.

    Args:
        trace: with references, recorded in shadow mode.
        places: M >= 2, each once.
        names: M, see `Zoo`.
        cost: what answers are counted in; of money every member must have a price.
        side_by_side: see `Zoo`.
        agreement: by its name, see `agreement_named`.

    Raises:
        SimulatorError: there is no such agreement; fewer than 2; two are the same model; one was
            not asked a query, or not whole; there are no references; or a price, or the size of a
            model, is missing.
    """
    infos = [trace.header.tiers[k].members[m] for k, m in places]
    _check_infos(infos, names, cost)
    model, rule = _MODELS[cost], _rule(agreement)
    answers = [_answers(trace, place, name) for place, name in zip(places, names, strict=True)]
    said = np.empty((len(places), len(trace.records)), dtype=np.intp)
    for n, column in enumerate(zip(*answers, strict=True)):
        texts = [answer.text or "" for answer in column]
        keys = [rule.key_of(text) for text in texts] if isinstance(rule, Vote) else texts
        said[:, n] = [keys.index(key) for key in keys]
    return Zoo(
        names=list(names),
        said=said,
        right=np.array([[bool(one.correct) for one in row] for row in answers]),
        costs=np.array(
            [
                [model.of_member(one, info) for one in row]
                for row, info in zip(answers, infos, strict=True)
            ]
        ),
        cost=cost,
        unit=model.unit_in(trace.header),
        side_by_side=side_by_side,
        agreement=rule,
        texts=[]
        if isinstance(rule, Vote)
        else [[one.text or "" for one in row] for row in answers],
    )


def _rule(name: str) -> Agreement:
    try:
        rule = agreement_named(name)
    except ValueError as error:
        raise SimulatorError(str(error)) from error
    # Of every pair of answers once, in whatever ensembles they meet.
    return Medoid(name, rule.measure, pairs=None) if isinstance(rule, Medoid) else rule


def _check_infos(infos: Sequence[MemberInfo], names: Sequence[str], cost: CostName) -> None:
    if len(infos) < 2:  # noqa: PLR2004
        raise SimulatorError(f"models to pick from must be at least 2; got {len(infos)}")
    seen: dict[str, str] = {}
    for info, name in zip(infos, names, strict=True):
        if info.program_sha256 is not None:
            if info.program_sha256 in seen:
                raise SimulatorError(
                    f"models {seen[info.program_sha256]!r} and {name!r} are the same by content"
                    f" ({info.program_sha256[:12]}), which has one vote"
                )
            seen[info.program_sha256] = name
    if cost == "money":
        holes = [name for name, info in zip(names, infos, strict=True) if not has_price(info)]
        if holes:
            raise SimulatorError(
                f"cost 'money': the price of {', '.join(map(repr, holes))} is missing; every model"
                " needs one above 0"
            )


def _answers(trace: Trace, place: Place, name: str) -> list[MemberAnswer]:
    """What one member said, whole, to every query."""
    k, m = place
    found: list[MemberAnswer] = []
    lacking = 0
    for record in trace.records:
        tier = record.tiers[k]
        # A tier that stopped early has cut its answer, or spared some of its members.
        whole = tier is not None and not tier.stopped_early
        said = [one for one in tier.members if one.member == m] if tier and whole else []
        if said and said[0].text is not None:
            found.append(said[0])
        else:
            lacking += 1
    if lacking:
        raise SimulatorError(
            f"model {name!r} was not asked, or not whole, {lacking} of {len(trace.records)} queries"
            " of the trace; record them with `escalade record`, which asks all"
        )
    unjudged = sum(one.correct is None for one in found)
    if unjudged:
        raise SimulatorError(
            f"{unjudged} of {len(found)} queries have no references; picking needs to know who is"
            " right"
        )
    return found
