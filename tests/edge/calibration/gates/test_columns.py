"""Scores, rights and costs of a tier against what it would do when asked, by plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from votes import is_decided, is_settled, vote_share

from escalade.edge.calibration.gates.columns import column_of
from escalade.edge.deferral import DeferralRule, Gate, Vote, rule_named
from escalade.edge.errors import CalibrationError
from escalade.edge.trace import MemberAnswer, MemberInfo, TierAnswer, TierInfo

VOTE = Gate(rule=Vote(), threshold=None)


def info(members: int, **options: object) -> TierInfo:
    models = [
        MemberInfo(name=str(k), parameters=10**k, prompt_price=k, generated_price=2.0 * k)
        for k in range(members)
    ]
    return TierInfo(**({"name": "tier", "place": "device", "members": models} | options))  # type: ignore[arg-type]


def answer(texts: list[str], tokens: int = 3) -> TierAnswer:
    members = [
        MemberAnswer(
            member=k,
            text=text,
            logprobs=[-0.5] * tokens,
            prompt_tokens=k + 1,
            generated_tokens=tokens,
            seconds=0.0,
        )
        for k, text in enumerate(texts)
    ]
    return TierAnswer(text=texts[0], members=members, score=9.0, correct=True, seconds=0.0)


def price(members: int, unit: str) -> float:
    """What the first so many members cost together."""
    tokens = [(k + 1, 3) for k in range(members)]
    if unit == "flops":
        return float(sum(2 * 10**k * (read + wrote) for k, (read, wrote) in enumerate(tokens)))
    return sum(k * read + 2.0 * k * wrote for k, (read, wrote) in enumerate(tokens)) / 1e6


votes = st.integers(2, 5).flatmap(
    lambda members: st.lists(
        st.lists(st.sampled_from("abc"), min_size=members, max_size=members), min_size=1, max_size=6
    )
)


@settings(deadline=None)
@given(votes, st.sampled_from(["flops", "money"]), st.floats(-0.1, 1.1))
def test_a_vote_asks_and_costs_no_more_than_the_decision_takes(
    said: list[list[str]], unit: str, tau: float
) -> None:
    members = len(said[0])
    column = column_of(
        info(members), VOTE, [answer(one) for one in said], [["a"]] * len(said), unit, last=False
    )
    level = int(np.searchsorted(column.levels, tau))
    for query, texts in enumerate(said):
        winner = vote_share(texts)
        assert column.scores[query] == winner.score
        assert column.right[query] == (winner.text == "a")
        asked = next(k for k in range(1, members + 1) if is_decided(texts[:k], members, tau))
        assert column.costs[level][query] == pytest.approx(price(asked, unit))


@given(votes)
def test_the_last_tier_asks_until_the_winner_is_certain(said: list[list[str]]) -> None:
    members = len(said[0])
    answers = [answer(texts) for texts in said]
    column = column_of(info(members), None, answers, [[]] * len(said), "flops", last=True)
    for texts, cost in zip(said, column.costs[0], strict=True):
        asked = next(k for k in range(1, members + 1) if is_settled(texts[:k], members))
        assert cost == price(asked, "flops")
    assert (column.scores, column.right) == ([], [None] * len(said))


def test_members_side_by_side_are_all_paid_for() -> None:
    told = [answer(["a", "a", "a"])]
    for gate in (VOTE, None):
        column = column_of(
            info(3, side_by_side=True), gate, told, [["a"]], "flops", last=gate is None
        )
        assert column.costs.tolist() == [[price(3, "flops")]]
        assert column.levels.size == 0


def test_calls_count_the_last_tier_alone() -> None:
    told = [answer(["a", "b"])] * 2
    assert column_of(info(2), VOTE, told, [["a"]] * 2, "calls", last=False).costs.max() == 0.0
    assert column_of(info(2), None, told, [["a"]] * 2, "calls", last=True).costs.tolist() == [
        [1.0, 1.0]
    ]


@pytest.mark.parametrize("rule", ["mean", "sum", "min"])
def test_one_model_is_scored_by_the_gates_rule(rule: str) -> None:
    gate = Gate(rule=rule_named(rule), threshold=None)
    column = column_of(info(1, rule="other"), gate, [answer(["a"])], [[]], "flops", last=False)
    assert isinstance(gate.rule, DeferralRule)
    assert column.scores == [gate.rule([-0.5] * 3)]
    assert column.right == [True]


def elsewhere(score: float | None) -> TierAnswer:
    """Of a gateway: two models ran, and what they said did not travel."""
    said = answer(["", ""])
    hushed = [
        MemberAnswer(
            member=k, text=None, logprobs=[], prompt_tokens=1, generated_tokens=1, seconds=0.0
        )
        for k in range(2)
    ]
    return TierAnswer(text=said.text, members=hushed, score=score, correct=None, seconds=0.0)


def test_a_gateway_keeps_its_score_where_the_rule_is_the_same() -> None:
    gate = Gate(rule=rule_named("mean"), threshold=None)
    there = info(2, place="gateway", rule="mean")
    column = column_of(there, gate, [elsewhere(0.25)], [["a"]], "flops", last=False)
    assert (column.scores, column.right) == ([0.25], [None])
    assert column.costs.tolist() == [[2 * 2 + 2 * 10 * 2]]
    with pytest.raises(CalibrationError, match="no log-probabilities to score by rule 'mean', and"):
        column_of(
            info(2, place="gateway", rule="sum"),
            gate,
            [elsewhere(0.25)],
            [[]],
            "flops",
            last=False,
        )
    for score in (math.nan, math.inf):
        with pytest.raises(CalibrationError, match="a score of tier 'tier' is not finite"):
            column_of(there, gate, [elsewhere(score)], [[]], "flops", last=False)


@pytest.mark.parametrize("unit", ["flops", "money"])
def test_models_that_a_trace_does_not_name_have_no_cost(unit: str) -> None:
    nameless = info(0, place="cloud")
    with pytest.raises(CalibrationError, match="does not say which models tier 'tier' has; use"):
        column_of(nameless, None, [elsewhere(None)], [["a"]], unit, last=True)
    assert column_of(
        nameless, None, [elsewhere(None)], [["a"]], "calls", last=True
    ).costs.tolist() == [[1.0]]
