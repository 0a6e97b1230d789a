"""Picks an ensemble on some queries and measures it on others; knows no file and no table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.ensembles.picking import (
    Progress,
    Search,
    guarantee_of,
    search,
    try_order,
)
from escalade.simulator.ensembles.votes import votes_of
from escalade.simulator.ensembles.zoo import CostName, Zoo
from escalade.simulator.errors import SimulatorError
from escalade.simulator.evaluation import Estimate, draw_queries, estimate, generator
from escalade.simulator.recorded import Floats


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """One model by itself; costs are of a query."""

    name: str
    #: Place in the order that was picked, from 0; None of a model that was not.
    place: int | None
    #: Share of right answers on the queries that the choice was made by.
    validated: float
    #: On the held-out ones.
    quality: Estimate
    cost: float


class Voted(msgspec.Struct, frozen=True, kw_only=True):
    """The picked models together, on the held-out queries."""

    quality: Estimate
    #: Of a query.
    cost: float
    #: How many members that are asked, on average.
    asked: float
    #: Share of queries on which any member is right, whoever wins.
    oracle: float
    #: Share of queries on which all members give one answer.
    unanimous: float
    #: Of those, the share where it is wrong; None where they never agree.
    wrong_when_unanimous: float | None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """How two models differ, on the held-out queries."""

    first: str
    second: str
    #: Share of queries on which their answers differ.
    disagreement: float
    #: Share on which they give the same wrong answer.
    wrong_alike: float


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble, how it was chosen, and what it is worth on queries that did not choose it."""

    #: Names in the order they are asked.
    members: list[str]
    #: Places of the same among the models given.
    order: list[int]
    side_by_side: bool
    #: By its name in a gate, and the weights of the members' voices.
    agreement: str
    weights: list[float]
    cost: CostName
    unit: str
    #: What a query may cost; None without a bound.
    budget: float | None
    search: Search
    tried: int
    #: All ordered subsets of so many models to so many were.
    whole_from: int
    whole_to: int
    guarantee: str
    #: Queries that the choice was made by, and that it was measured on.
    validation_queries: int
    held_out_queries: int
    #: Share of right answers where it was chosen: of the best of many, so too high.
    validated: float
    validated_cost: float
    voted: Voted
    #: The model that is right most often on the validation queries, within the budget if any is.
    best_single: str
    #: The ensemble's quality less that model's, paired.
    gain: Estimate
    models: list[Alone]
    #: Share of held-out queries on which any model given is right.
    oracle_of_all: float
    #: Of all models given.
    pairs: list[Pair]


def pick(
    validation: Zoo,
    held_out: Zoo,
    *,
    budget: float | None = None,
    least: int = 1,
    seed: int = 1,
    resamples: int = 1000,
    most_tried: int | None = None,
    weighted: bool = False,
    progress: Progress = lambda done, total: None,
) -> Picked:
    """Choose on some queries, measure on others.

    Args:
        validation: M models, N >= 1 queries.
        held_out: the same models, other queries, >= 1.
        budget: what a query may cost on average, > 0; None sets no bound.
        least: members that there are to be.
        seed: of the resamples, >= 0.
        resamples: for the intervals, which are 95 %.
        most_tried: see `search`.
        weighted: voices weigh as much as their models are right on the validation queries
            (`Zoo.by_accuracy`).
        progress: see `search`.

    Raises:
        SimulatorError: see `search`; or there are no queries of one kind.
    """
    for what, zoo in (("validation", validation), ("held-out", held_out)):
        if not zoo.queries:
            raise SimulatorError(f"{what} queries must be at least 1; got 0")
    if weighted:
        weights = validation.by_accuracy()
        validation, held_out = validation.weighted(weights), held_out.weighted(weights)
    limit = math.inf if budget is None else budget
    found = search(validation, limit, least=least, most_tried=most_tried, progress=progress)
    counts = draw_queries(generator(seed), held_out.queries, resamples)

    def share(values: NDArray[np.bool_] | Floats) -> Estimate:
        return estimate(float(values.mean()), counts @ values.astype(np.float64) / len(values))

    order, best = found.best.order, _best_single(validation, limit)
    votes = votes_of(held_out, order)
    ours = held_out.right[list(order)]
    won = ours[votes.winner, range(held_out.queries)]
    agreed = int(votes.unanimous.sum())
    asked = np.full_like(votes.asked, len(order)) if held_out.side_by_side else votes.asked
    names = held_out.names
    return Picked(
        members=[names[one] for one in order],
        order=list(order),
        side_by_side=held_out.side_by_side,
        agreement=held_out.agreement.name,
        weights=list(held_out.weights_of(order)),
        cost=held_out.cost,
        unit=held_out.unit,
        budget=budget,
        search=found.search,
        tried=found.tried,
        whole_from=found.whole_from,
        whole_to=found.whole_to,
        guarantee=guarantee_of(found),
        validation_queries=validation.queries,
        held_out_queries=held_out.queries,
        validated=found.best.right / validation.queries,
        validated_cost=found.best.cost,
        voted=Voted(
            quality=share(won),
            cost=float(held_out.spent(order, votes.asked).mean()),
            asked=float(asked.mean()),
            oracle=float(ours.any(axis=0).mean()),
            unanimous=agreed / held_out.queries,
            wrong_when_unanimous=(
                float((votes.unanimous & ~won).sum()) / agreed if agreed else None
            ),
        ),
        best_single=names[best],
        gain=share(won.astype(np.float64) - held_out.right[best]),
        models=[
            Alone(
                name=name,
                place=order.index(one) if one in order else None,
                validated=float(validation.right[one].mean()),
                quality=share(held_out.right[one]),
                cost=float(held_out.costs[one].mean()),
            )
            for one, name in enumerate(names)
        ],
        oracle_of_all=float(held_out.right.any(axis=0).mean()),
        pairs=_pairs(held_out, names),
    )


def _best_single(zoo: Zoo, limit: float) -> int:
    singles = [try_order(zoo, (one,)) for one in range(len(zoo.names))]
    within = [one for one in singles if one.cost <= limit]
    return max(within or singles, key=lambda one: one.rank).order[0]


def _pairs(zoo: Zoo, names: Sequence[str]) -> list[Pair]:
    return [
        Pair(
            first=names[a],
            second=names[b],
            disagreement=float((zoo.said[a] != zoo.said[b]).mean()),
            wrong_alike=float(((zoo.said[a] == zoo.said[b]) & ~zoo.right[a]).mean()),
        )
        for a, b in combinations(range(len(names)), 2)
    ]
