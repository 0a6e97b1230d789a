"""Tiers as columns: what is asked at which level, and what stays as it was recorded."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.recorded.tiers import tiers_of


def test_a_single_model_has_one_level(make_cascade: Callable[..., Trace]) -> None:
    for tier in tiers_of(make_cascade([1, 1], 4)):
        assert tier.levels.tolist() == []
        assert tier.asked.tolist() == [[1] * 4]
        assert tier.level(0.3) == tier.level(np.inf) == 0


def test_a_vote_asks_fewer_the_surer_its_threshold_is(make_cascade: Callable[..., Trace]) -> None:
    tier = tiers_of(make_cascade([3, 1], 200))[0]
    assert tier.levels.tolist() == [0 / 3, 1 / 3, 2 / 3]
    # At 0 or below every query defers, which one member is enough to know.
    assert set(tier.asked[0]) == {1}
    # To be unanimous takes all three, and to differ two.
    assert set(tier.asked[1]) == {2, 3}
    counted = tier.at_levels(lambda answer, info: float(len(answer.members)))
    np.testing.assert_array_equal(counted, tier.asked)


def test_a_last_ensemble_asks_until_its_winner_is_certain(
    make_cascade: Callable[..., Trace],
) -> None:
    tier = tiers_of(make_cascade([1, 3], 200, linked=[False, False]))[1]
    assert tier.levels.tolist() == []
    for answer, asked in zip(tier.answers, tier.asked[0], strict=True):
        first, second, _ = (member.text for member in answer.members)
        assert asked == (2 if first == second else 3)


def test_side_by_side_or_behind_a_link_all_that_ran_count(
    make_cascade: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    at_once = tiers_of(make_cascade([3, 3], 20, linked=[False] * 2, side_by_side=[True] * 2))
    behind = tiers_of(make_cascade([3, 3], 20, linked=[True] * 2))
    for tier in (*at_once, *behind):
        assert set(tier.asked.ravel().tolist()) == {3}
    # A gateway says who ran, and not what they said.
    trace = make_cascade([1, 3], 2)
    members = [
        msgspec.structs.replace(one, text=None) for one in trace.records[0].tiers[1].members[:2]
    ]
    records = [with_answer(trace.records[0], 1, members=members), trace.records[1]]
    assert tiers_of(trace._replace(records=records))[1].asked.tolist() == [[2, 3]]


def test_side_by_side_the_decision_waits_for_no_more_than_it_takes(
    make_cascade: Callable[..., Trace],
) -> None:
    tier = tiers_of(make_cascade([3, 1], 200, side_by_side=[True, False]))[0]
    took_s = tier.until_decided(lambda answer, _: max(one.seconds for one in answer.members))
    level = tier.level(0.5)
    early = 0
    for answer, seconds in zip(tier.answers, took_s[level].tolist(), strict=True):
        one, two, three = sorted(answer.members, key=lambda member: member.seconds)
        # Of three, two that agree decide it at a half.
        decided = two if one.text == two.text else three
        early += decided is two
        assert seconds == decided.seconds
    assert 0 < early < 200
    assert tier.at_levels(lambda answer, _: len(answer.members)).min() == 3


def test_taking_queries_keeps_their_order(make_cascade: Callable[..., Trace]) -> None:
    tier = tiers_of(make_cascade([3, 1], 9))[0]
    taken = tier.take(np.array([4, 0, 7]))
    assert taken.ids == ["q4", "q0", "q7"]
    assert taken.answers == [tier.answers[k] for k in (4, 0, 7)]
    assert taken.score.tolist() == tier.score[[4, 0, 7]].tolist()
    assert taken.asked.tolist() == tier.asked[:, [4, 0, 7]].tolist()
