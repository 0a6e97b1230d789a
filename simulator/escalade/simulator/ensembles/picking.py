"""Searches the ordered subset of models that agree on what is right; knows no held-out query.

All ordered subsets of up to S models are tried, S being as large as `MOST_TRIED` lets it be, from
one alone or from as many as there are to be at least.
Where S is the number of models, that is all of them (`exhaustive`). Else (`greedy`) the best found
grows by the model, at the place, that helps most, as long as one helps: forward selection (Caruana
et al. 2004, Ensemble Selection from Libraries of Models) from where the enumeration ended.

The greedy search is as right on the queries it sees as every ordered subset of up to S within the
budget, and no single insertion improves on it. It has no approximation ratio: how often a vote is
right is neither monotone nor submodular in its members, which is what greedy bounds (Nemhauser et
al. 1978) ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from typing import Literal, NamedTuple

from escalade.simulator.ensembles.votes import MOST_MEMBERS, votes_of
from escalade.simulator.ensembles.zoo import Zoo
from escalade.simulator.errors import SimulatorError
from escalade.simulator.formats import count, three_digits, with_unit

Search = Literal["exhaustive", "greedy"]
ALL: Search = "exhaustive"
GREEDY: Search = "greedy"

#: Lets 7 models (13,699 ordered subsets) be searched whole; of 1,000 queries some seconds.
MOST_TRIED = 20_000
#: Where votes have weights, or answers are compared: 6 models (1,956), some minutes.
MOST_WEIGHED = 2_000

Progress = Callable[[int, int], None]


class Tried(NamedTuple):
    """An ordered subset, on the queries that it is chosen by."""

    order: tuple[int, ...]
    #: How many queries it is right on.
    right: int
    #: Of a query, on average.
    cost: float

    @property
    def rank(self) -> tuple[float, ...]:
        """More is better: right, then cheap, then few, then as the models were given."""
        return (self.right, -self.cost, -len(self.order), *(-one for one in self.order))


class Found(NamedTuple):
    """What a search came to."""

    best: Tried
    search: Search
    #: How many ordered subsets were looked at.
    tried: int
    #: Ordered subsets of so many models to so many (S) were all looked at.
    whole_from: int
    whole_to: int


def search(
    zoo: Zoo,
    budget: float = math.inf,
    *,
    least: int = 1,
    most_tried: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Found:
    """The best ordered subset that a budget buys, one model alone among them.

    Args:
        zoo: M models.
        budget: what a query may cost on average, > 0.
        least: members that there are to be, in [1, M].
        most_tried: ordered subsets that may be enumerated; None takes `MOST_TRIED`, or
            `MOST_WEIGHED`.
        progress: called with (tried, all that are enumerated).

    Raises:
        SimulatorError: nothing costs so little; or `least` is out of range, or takes too many
            ordered subsets.
    """
    if not budget > 0:
        raise SimulatorError(f"budget must be above 0; got {budget:g}")
    models = len(zoo.names)
    if not 1 <= least <= min(models, MOST_MEMBERS):
        raise SimulatorError(
            f"least must be in [1, {min(models, MOST_MEMBERS)}], of {models} models; got {least}"
        )
    if most_tried is None:
        most_tried = MOST_WEIGHED if zoo.weights or zoo.texts else MOST_TRIED
    sizes, total = _sizes(models, least, most_tried)
    best, cheapest, tried = None, math.inf, 0
    for order in _ordered(models, range(least, sizes + 1)):
        one = try_order(zoo, order)
        tried += 1
        cheapest = min(cheapest, one.cost)
        if one.cost <= budget and (best is None or one.rank > best.rank):
            best = one
        progress(tried, total)
    if best is None:
        raise SimulatorError(
            f"budget must be at least {_amount(cheapest, zoo)} a query, what the cheapest of"
            f" {total:,} costs; got {_amount(budget, zoo)}"
        )
    if sizes == models:
        return Found(best, ALL, tried, least, sizes)
    while True:
        step = None
        for order in _insertions(best.order, models):
            one = try_order(zoo, order)
            tried += 1
            if one.cost <= budget and (step is None or one.rank > step.rank):
                step = one
        if step is None or step.right <= best.right:
            return Found(best, GREEDY, tried, least, sizes)
        best = step


def try_order(zoo: Zoo, order: tuple[int, ...]) -> Tried:
    """An ordered subset on the queries of a zoo."""
    votes = votes_of(zoo, order)
    right = zoo.right[list(order)][votes.winner, range(zoo.queries)]
    return Tried(order, int(right.sum()), float(zoo.spent(order, votes.asked).mean()))


def guarantee_of(found: Found) -> str:
    """What a search promises of what it found, on the queries that it saw."""
    if found.search == ALL:
        of = "" if found.whole_from == 1 else f" of at least {found.whole_from}"
        return f"exhaustive: the best of all {found.tried:,} ordered subsets{of}"
    return (
        f"greedy, {found.tried:,} tried: at least as right as every ordered subset of"
        f" {found.whole_from} to {found.whole_to} within the budget, and no single insertion"
        " improves it; no approximation ratio"
    )


def _sizes(models: int, least: int, most_tried: int) -> tuple[int, int]:
    """Up to how many models all ordered subsets are tried, and how many those are."""
    size, total = least, math.perm(models, least)
    if total > max(most_tried, models):
        raise SimulatorError(
            f"least {least} of {models} models are {total:,} ordered subsets, and at most"
            f" {most_tried:,} are tried; give fewer models, or take fewer of them"
        )
    while size < min(models, MOST_MEMBERS):
        more = math.perm(models, size + 1)
        if total + more > most_tried:
            break
        size, total = size + 1, total + more
    return size, total


def _ordered(models: int, sizes: Iterable[int]) -> Iterator[tuple[int, ...]]:
    for size in sizes:
        yield from permutations(range(models), size)


def _insertions(order: tuple[int, ...], models: int) -> Iterable[tuple[int, ...]]:
    if len(order) == MOST_MEMBERS:
        return
    for one in set(range(models)).difference(order):
        for place in range(len(order) + 1):
            yield (*order[:place], one, *order[place:])


def _amount(cost: float, zoo: Zoo) -> str:
    if zoo.cost == "flops":
        return with_unit(count(cost), zoo.unit)
    return f"{three_digits(cost)} {zoo.unit}"
