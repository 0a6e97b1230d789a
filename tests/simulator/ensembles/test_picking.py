"""The search against brute force over the edge's own votes, and against its own promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from votes import is_settled, vote_share

from escalade.edge.deferral import Voice, agreement_named
from escalade.simulator.ensembles import Zoo
from escalade.simulator.ensembles.picking import guarantee_of, search, try_order
from escalade.simulator.ensembles.votes import votes_of
from escalade.simulator.errors import SimulatorError

MakeZoo = Callable[..., Zoo]
_zoos = {
    "models": st.integers(2, 5),
    "queries": st.integers(1, 12),
    "seed": st.integers(0, 999),
    "side_by_side": st.booleans(),
    "cost": st.sampled_from(["flops", "seconds"]),
}


_RULES = ["vote", "vote:folded", "mean-score", "similarity:chrf", "similarity:edit"]


def asked_until_settled(texts: list[str]) -> int:
    """How many are asked, one after the other, until the winner is certain."""
    everybody = range(1, len(texts) + 1)
    return next(k for k in everybody if k == len(texts) or is_settled(texts[:k], len(texts)))


def by_hand(zoo: Zoo, order: tuple[int, ...]) -> tuple[int, float]:
    """Right answers and mean cost, query by query as the device would."""
    right, spent = 0, 0.0
    for n in range(zoo.queries):
        texts = [str(zoo.said[one, n]) for one in order]
        winner = vote_share(texts).text
        right += bool(zoo.right[order[texts.index(winner)], n])
        costs = [float(zoo.costs[one, n]) for one in order]
        if not zoo.side_by_side:
            spent += sum(costs[: asked_until_settled(texts)])
        else:
            spent += max(costs) if zoo.cost == "seconds" else sum(costs)
    return right, spent / zoo.queries


def all_of(zoo: Zoo, largest: int) -> Iterator[tuple[tuple[int, ...], int, float]]:
    for size in range(1, largest + 1):
        for order in permutations(range(len(zoo.names)), size):
            yield (order, *by_hand(zoo, order))


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0.0, 1.2), **_zoos)
def test_an_exhaustive_pick_is_the_best_of_all_in_the_budget(
    make_zoo: MakeZoo,
    models: int,
    queries: int,
    seed: int,
    side_by_side: bool,
    cost: str,
    share: float,
) -> None:
    zoo = make_zoo(models, queries, seed=seed, side_by_side=side_by_side, cost=cost)
    everything = list(all_of(zoo, models))
    least, most = (end(spent for _, _, spent in everything) for end in (min, max))
    budget = least + share * (most - least)
    found = search(zoo, budget)
    assert found[1:] == ("exhaustive", len(everything), 1, models)
    # Right first, then cheap, then few, then in the order given.
    order, right, spent = max(
        (one for one in everything if one[2] <= budget),
        key=lambda one: (one[1], -one[2], -len(one[0]), *(-k for k in one[0])),
    )
    assert found.best.order == order
    assert found.best.right == right
    assert found.best.cost == pytest.approx(spent)


@settings(deadline=None, max_examples=15)
@given(rule=st.sampled_from(_RULES), **_zoos)
@example(rule="similarity:edit", models=4, queries=12, seed=3, side_by_side=False, cost="flops")
def test_any_agreement_picks_what_the_edges_rule_says_is_best(
    make_zoo: MakeZoo,
    rule: str,
    models: int,
    queries: int,
    seed: int,
    side_by_side: bool,
    cost: str,
) -> None:
    """Weighted votes and similarities: texts `a`, `ab`, ... are more alike the nearer they are."""
    zoo = make_zoo(min(models, 4), queries, seed=seed, side_by_side=side_by_side, cost=cost)
    words = [["abcd"[: one + 1] for one in row] for row in zoo.said.tolist()]
    texts = words if rule.startswith("similarity") else []
    zoo = replace(zoo, agreement=agreement_named(rule), texts=texts)
    zoo = zoo.weighted(zoo.by_accuracy())
    found = search(zoo).best
    best = (-1, 0.0)
    for order in (one for one, _, _ in all_of(zoo, len(zoo.names))):
        weights, right, spent = zoo.weights_of(order), 0, 0.0
        for n in range(queries):
            voices = [Voice(k, words[one][n]) for k, one in enumerate(order)]
            right += bool(zoo.right[order[zoo.agreement.outcome(voices, weights).winner], n])
            ks = range(1, len(order) + 1)
            asked = next(
                k for k in ks if k == len(order) or zoo.agreement.is_settled(voices[:k], weights)
            )
            spent += zoo.spent(order, np.full(queries, asked))[n]
        assert try_order(zoo, order)[1:] == (right, pytest.approx(spent / queries))
        best = max(best, (right, -spent / queries))
    assert (found.right, -found.cost) == (best[0], pytest.approx(best[1]))


@pytest.mark.parametrize(("members", "vote", "similarity"), [(3, 2, 2), (5, 3, 4), (8, 4, 7)])
def test_a_similarity_ends_later_than_a_vote_where_all_say_the_same(
    make_zoo: MakeZoo, members: int, vote: int, similarity: int
) -> None:
    """What is yet to come may be like texts that differ from one another, so that half is too few.

    Of K, k have said the same. One that is yet to come may be like all of these and like all that
    come after it, which are like it alone: K, against k + 1. So the first stands from k = K - 1.
    """
    zoo = make_zoo(members, 2, answers=1)
    zoo.said[:] = 0
    assert votes_of(zoo, range(members)).asked.tolist() == [vote] * 2
    # Which text it is does not matter.
    texts = [["", "cab"] for _ in range(members)]
    alike = replace(zoo, agreement=agreement_named("similarity:edit"), texts=texts)
    assert votes_of(alike, range(members)).asked.tolist() == [similarity] * 2


@settings(deadline=None, max_examples=40)
@given(most_tried=st.integers(0, 40), share=st.floats(0.0, 1.0), **_zoos)
def test_a_greedy_pick_holds_what_it_promises(
    make_zoo: MakeZoo,
    models: int,
    queries: int,
    seed: int,
    side_by_side: bool,
    cost: str,
    most_tried: int,
    share: float,
) -> None:
    zoo = make_zoo(models, queries, seed=seed, side_by_side=side_by_side, cost=cost)
    singles = [by_hand(zoo, (one,))[1] for one in range(models)]
    budget = min(singles) + share * sum(singles)
    found = search(zoo, budget, most_tried=most_tried)
    right, spent = by_hand(zoo, found.best.order)
    assert (found.best.right, found.best.cost) == (right, pytest.approx(spent))
    assert spent <= budget * (1 + 1e-12)
    for _, other, price in all_of(zoo, found.whole_to):
        assert price > budget or other <= right
    if found.search == "exhaustive":
        assert found.whole_to == models
        return
    assert sum(math.perm(models, size) for size in range(1, found.whole_to + 2)) > most_tried
    for one in set(range(models)).difference(found.best.order):
        for place in range(len(found.best.order) + 1):
            order = (*found.best.order[:place], one, *found.best.order[place:])
            other, price = by_hand(zoo, order)
            assert price > budget or other <= right
    assert f"subset of 1 to {found.whole_to} within" in guarantee_of(found)
    assert "no approximation ratio" in guarantee_of(found)


def test_greedy_may_miss_what_only_three_together_have() -> None:
    """Why no ratio is promised: the best vote is of models that are no help in ones and twos."""
    # Each of the three is right on two queries of three; a fourth, alone, on the same share.
    said = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 2]])
    zoo = Zoo(
        names=list("abcd"),
        said=said,
        right=said == 0,
        costs=np.ones((4, 3)),
        cost="flops",
        unit="FLOPs",
    )
    assert search(zoo).best.right == 3
    assert search(zoo, most_tried=0).best.right == 2


def test_more_models_than_can_be_tried_whole_are_searched_greedily(make_zoo: MakeZoo) -> None:
    found = search(make_zoo(9, 20), most_tried=100)
    assert (found.search, found.whole_to) == ("greedy", 2)
    assert found.tried >= 9 + 72


@pytest.mark.parametrize("least", [1, 2, 3, 4])
def test_as_many_as_are_wanted_are_picked(make_zoo: MakeZoo, least: int) -> None:
    zoo = make_zoo(4, 9, seed=5)
    found = search(zoo, least=least)
    assert len(found.best.order) >= least
    assert found.whole_from == least
    wanted = [one for one in all_of(zoo, 4) if len(one[0]) >= least]
    assert (found.tried, found.best.right) == (len(wanted), max(one[1] for one in wanted))


@pytest.mark.parametrize(
    ("least", "says"),
    [
        (0, r"least must be in \[1, 5\], of 5 models; got 0"),
        (6, r"least must be in \[1, 5\], of 5 models; got 6"),
        (3, "least 3 of 5 models are 60 ordered subsets, and at most 59 are tried"),
    ],
)
def test_more_than_there_are_or_can_be_tried_are_refused(
    make_zoo: MakeZoo, least: int, says: str
) -> None:
    with pytest.raises(SimulatorError, match=says):
        search(make_zoo(5, 6), least=least, most_tried=59)


def test_progress_comes_to_its_end(make_zoo: MakeZoo) -> None:
    seen: list[tuple[int, int]] = []
    search(make_zoo(4, 5), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 64) for k in range(64)]


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, 0.5])
def test_a_budget_that_buys_nothing_is_refused(make_zoo: MakeZoo, budget: float) -> None:
    with pytest.raises(SimulatorError, match="budget must be (above 0|at least .*FLOPs a query)"):
        search(make_zoo(3, 6), budget)
