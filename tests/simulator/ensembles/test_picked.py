"""What is said of a pick: held-out numbers by hand, intervals, diversity, and words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from escalade.simulator.ensembles import Zoo, lede, pick, tables_of
from escalade.simulator.ensembles.votes import MOST_MEMBERS, votes_of
from escalade.simulator.errors import SimulatorError

MakeZoo = Callable[..., Zoo]


@pytest.mark.parametrize("side_by_side", [False, True])
def test_what_is_held_out_is_measured_and_chooses_nothing(
    make_zoo: MakeZoo, side_by_side: bool
) -> None:
    zoo = make_zoo(4, 80, seed=3, side_by_side=side_by_side)
    validation, held_out = zoo.take(range(40)), zoo.take(range(40, 80))
    picked = pick(validation, held_out)
    assert (picked.validation_queries, picked.held_out_queries) == (40, 40)
    # Other answers there, and the choice is the same.
    other = make_zoo(4, 40, seed=9, side_by_side=side_by_side)
    assert pick(validation, other).order == picked.order
    votes = votes_of(held_out, picked.order)
    ours = held_out.right[picked.order]
    won = [bool(ours[place, n]) for n, place in enumerate(votes.winner)]
    assert picked.voted.quality.value == pytest.approx(np.mean(won))
    assert picked.voted.oracle == pytest.approx(ours.any(axis=0).mean())
    alike = (held_out.said[picked.order] == held_out.said[picked.order[0]]).all(axis=0)
    assert picked.voted.unanimous == pytest.approx(alike.mean())
    wrong = [one for one, agreed in zip(won, alike, strict=True) if agreed]
    assert picked.voted.wrong_when_unanimous == pytest.approx(1 - np.mean(wrong))
    asked = len(picked.order) if side_by_side else votes.asked.mean()
    assert picked.voted.asked == pytest.approx(asked)


def test_every_model_and_pair_is_reported(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(4, 60, seed=1)
    picked = pick(zoo, zoo, budget=float(zoo.costs.sum()))
    assert [one.name for one in picked.models] == zoo.names
    assert [
        one.name
        for one in sorted(picked.models, key=lambda one: one.place or 0)
        if one.place is not None
    ] == picked.members
    for k, one in enumerate(picked.models):
        assert one.quality.value == pytest.approx(zoo.right[k].mean())
        assert one.cost == pytest.approx(zoo.costs[k].mean())
    assert [(pair.first, pair.second) for pair in picked.pairs] == list(combinations(zoo.names, 2))
    first = picked.pairs[0]
    assert first.disagreement == pytest.approx((zoo.said[0] != zoo.said[1]).mean())
    both = (zoo.said[0] == zoo.said[1]) & ~zoo.right[0]
    assert first.wrong_alike == pytest.approx(both.mean())
    assert picked.oracle_of_all == pytest.approx(zoo.right.any(axis=0).mean())


def test_a_model_that_is_best_alone_is_picked_alone(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(3, 40)
    zoo.right[1], zoo.said[1] = True, 0
    picked = pick(zoo, zoo)
    assert (picked.members, picked.best_single) == (["m1"], "m1")
    assert (picked.gain.value, picked.gain.low, picked.gain.high) == (0.0, 0.0, 0.0)
    assert "alone: no vote is better" in lede(picked)[0]
    assert len(tables_of(picked)) == 1


def test_intervals_hold_their_number_and_follow_the_seed(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(3, 50, seed=2)
    one, again, other = (pick(zoo, zoo, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    for found in (one.voted.quality, one.gain, *(model.quality for model in one.models)):
        assert found.low is not None
        assert found.value is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high


def test_words_say_how_it_was_searched_and_measured(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(4, 50, seed=3)
    exhaustive = lede(pick(zoo, zoo, budget=1e6))
    assert "exhaustive: the best of all 64 ordered subsets; budget 1.00 MFLOPs" in exhaustive[1]
    assert exhaustive[2].startswith("held out (50 queries): ")
    greedy = lede(pick(zoo, zoo, most_tried=4))
    assert "greedy" in greedy[1]
    assert "no approximation ratio" in greedy[1]


def test_no_queries_of_one_kind_are_refused(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(2, 5)
    for ends, says in (
        ((zoo.take([]), zoo), "validation queries must be at least 1; got 0"),
        ((zoo, zoo.take([])), "held-out queries must be at least 1; got 0"),
    ):
        with pytest.raises(SimulatorError, match=says):
            pick(*ends)


def test_the_largest_vote_is_counted_whole(make_zoo: MakeZoo) -> None:
    """Patterns of agreement are numbers: those of the most members that there may be fit."""
    zoo = make_zoo(MOST_MEMBERS, 1)
    zoo.said[:, 0] = np.arange(MOST_MEMBERS)  # all differ
    votes = votes_of(zoo, range(MOST_MEMBERS))
    assert (votes.winner.tolist(), votes.asked.tolist()) == ([0], [MOST_MEMBERS])
    assert not votes.unanimous[0]
