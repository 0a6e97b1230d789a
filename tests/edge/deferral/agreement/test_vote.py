"""The vote: the rule, and its bounds by trying every way the rest may vote."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from votes import VOTE, is_decided, is_settled, voices_of_texts, vote_bounds, vote_share

from escalade.edge.deferral import defers

texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=5)


@given(texts)
def test_most_votes_win_and_the_first_of_equals(answers: list[str]) -> None:
    text, score = vote_share(answers)
    assert score == (len(answers) - answers.count(text)) / len(answers)
    for other in answers:
        assert answers.count(other) <= answers.count(text)
        if answers.count(other) == answers.count(text):
            assert answers.index(text) <= answers.index(other)


def test_by_hand() -> None:
    assert vote_share(["x", "y", "y"]) == ("y", 1 / 3)
    assert vote_share(["x", "y"]) == ("x", 0.5)
    assert vote_share(["", "", "y"]) == ("", 1 / 3)
    assert vote_share(["x"]) == ("x", 0.0)
    assert vote_bounds(["x", "y"], 4) == (0.25, 0.75)
    assert VOTE.bounds([], [1.0] * 3) == (0.0, 2 / 3)
    assert not VOTE.is_settled([], [1.0] * 3)
    with pytest.raises(ValueError, match="no member said anything"):
        vote_share([])
    with pytest.raises(
        ValueError, match=r"voices must be of members 0 to 1, once each: \[0, 1, 2\]"
    ):
        vote_bounds(["x"] * 3, 2)
    with pytest.raises(ValueError, match=r"once each: \[0, 0\]"):
        VOTE.is_settled(voices_of_texts("x") * 2, [1.0] * 2)
    for weight in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="weights must be above 0 and finite, got"):
            VOTE.outcome(voices_of_texts("xy"), [1.0, weight])


@given(st.integers(1, 64), st.data())
def test_a_score_is_the_number_that_a_user_types(members: int, data: st.DataObject) -> None:
    """Where the share has a finite decimal, in as few digits; thresholds at it send it on."""
    votes = data.draw(st.integers(1, members))
    # Of at least as many votes as any other answer: all others are given once.
    answers = ["y"] * votes + [str(n) for n in range(members - votes)]
    _, score = vote_share(answers)
    share = Fraction(members - votes, members)
    assert score == float(share) == float(np.divide(members - votes, members))
    assert vote_bounds(answers, members) == (score, score)
    assert defers(score, score)
    decimals = Decimal(share.numerator) / Decimal(share.denominator)
    typed = float(str(decimals))
    if Fraction(decimals) == share:
        assert score == typed
        assert defers(score, typed)
        assert bool(defers(np.array([score]), typed)[0])
    # Cut off after three digits, a threshold lies below its share; the next one above.
    below = math.floor(share * 1000)
    assert defers(score, float(f"{below / 1000:.3f}"))
    assert not defers(score, float(f"{(below + 1) / 1000:.3f}"))


@pytest.mark.parametrize(
    ("others", "members", "typed"),
    [(1, 5, "0.2"), (2, 5, "0.4"), (3, 5, "0.6"), (4, 5, "0.8"), (1, 10, "0.1"), (3, 10, "0.3"),
     (7, 10, "0.7"), (1, 3, "0.3333333333333333"), (2, 3, "0.6666666666666666"), (3, 25, "0.12")],
)  # fmt: skip
def test_shares_by_hand(others: int, members: int, typed: str) -> None:
    answers = ["y"] * (members - others) + [str(n) for n in range(others)]
    assert vote_share(answers).score == float(typed)
    assert is_decided(answers, members, float(typed))


def finals(answers: list[str], members: int) -> list[tuple[str, float]]:
    """Every way the vote may end; three letters stand for answers that nobody has given."""
    rest = itertools.product({*answers, *"xyz"}, repeat=members - len(answers))
    return [vote_share([*answers, *more]) for more in rest]


@given(texts, st.integers(0, 3))
def test_bounds_are_attained_and_never_passed(answers: list[str], more: int) -> None:
    members = len(answers) + more
    scores = [score for _, score in finals(answers, members)]
    assert vote_bounds(answers, members) == (min(scores), max(scores))


@given(texts, st.integers(0, 3))
def test_settled_means_that_no_way_to_end_changes_the_answer(answers: list[str], more: int) -> None:
    members = len(answers) + more
    ends = {text for text, _ in finals(answers, members)}
    assert is_settled(answers, members) == (len(ends) == 1)


@given(texts, st.integers(0, 3), st.integers(0, 8), st.booleans())
def test_decided_means_that_no_way_to_end_changes_the_outcome(
    answers: list[str], more: int, step: int, can_defer: bool
) -> None:
    members = len(answers) + more
    tau = step / 8
    outcomes = {
        (defers(score, tau), "large" if can_defer and defers(score, tau) else text)
        for text, score in finals(answers, members)
    }
    assert is_decided(answers, members, tau, can_defer=can_defer) == (len(outcomes) == 1)
