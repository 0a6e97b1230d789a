"""How many members are asked, against the decision itself at every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.deferral import Agreement, Voice, agreement_named, asked_of
from escalade.edge.deferral.agreement import asked as asked_module

WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])
NAMES = ["vote", "vote:folded", "mean-score", "similarity:edit"]


@st.composite
def polls(draw: st.DrawFn) -> tuple[list[list[Voice]], list[float]]:
    """What two to four members said to a few queries; some failed, none of them all."""
    members = draw(st.integers(2, 4))
    texts = st.sampled_from(["a", "A ", "", "cab"])
    said = st.lists(st.none() | texts, min_size=members, max_size=members)
    queries = draw(st.lists(said.filter(any), min_size=1, max_size=4))
    scores = st.sampled_from([0.0, -0.5, -2.0, -math.inf])
    voices = [
        [Voice(member, text, [draw(scores)]) for member, text in enumerate(query)]
        for query in queries
    ]
    weights = draw(st.lists(WEIGHTS, min_size=members, max_size=members))
    return voices, weights


def by_hand(
    agreement: Agreement, voices: list[Voice], weights: list[float], tau: float | None
) -> int:
    for k in range(1, len(weights)):
        if tau is None and agreement.is_settled(voices[:k], weights):
            return k
        if tau is not None and agreement.is_decided(voices[:k], weights, tau):
            return k
    return len(weights)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(polls(), st.floats(-0.5, 1.5))
def test_a_threshold_asks_as_many_as_its_level_says(
    name: str, poll: tuple[list[list[Voice]], list[float]], threshold: float
) -> None:
    queries, weights = poll
    agreement = agreement_named(name)
    asked = asked_of(agreement, queries, weights, side_by_side=False, gated=True)
    assert (np.diff(asked.levels) > 0).all()
    ends = [agreement.outcome(voices, weights).score for voices in queries]
    exact = [*asked.levels.tolist(), *ends, threshold, math.inf]
    for tau in [*exact, *np.nextafter(exact, -2).tolist(), *np.nextafter(exact, 2).tolist()]:
        level = int(np.searchsorted(asked.levels, tau))
        for query, voices in enumerate(queries):
            assert asked.members[level][query] == by_hand(agreement, voices, weights, tau)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=30)
@given(polls())
def test_without_a_gate_members_answer_until_the_winner_is_certain(
    name: str, poll: tuple[list[list[Voice]], list[float]]
) -> None:
    queries, weights = poll
    agreement = agreement_named(name)
    asked = asked_of(agreement, queries, weights, side_by_side=False, gated=False)
    assert asked.levels.size == 0
    assert asked.members.tolist() == [
        [by_hand(agreement, voices, weights, None) for voices in queries]
    ]
    beside = asked_of(agreement, queries, weights, side_by_side=True, gated=True)
    assert beside.members.tolist() == [[len(weights)] * len(queries)]


def test_levels_of_many_probabilities_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_module, "_MOST_CELLS", 1)
    rng = np.random.default_rng(3)
    queries = [
        [Voice(member, "ab"[int(rng.integers(2))], [-rng.random()]) for member in range(3)]
        for _ in range(200)
    ]
    agreement = agreement_named("mean-score")
    asked = asked_of(agreement, queries, [1.0] * 3, side_by_side=False, gated=True)
    assert asked.levels.size == 64
    for level, tau in enumerate(asked.levels.tolist()):  # those that are kept are exact
        assert asked.members[level].tolist() == [
            by_hand(agreement, voices, [1.0] * 3, tau) for voices in queries
        ]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=30)
@given(polls(), st.floats(-0.5, 1.5))
def test_after_a_last_tier_a_threshold_is_of_what_would_be(
    name: str, poll: tuple[list[list[Voice]], list[float]], threshold: float
) -> None:
    """As `is_decided` has it where nobody can defer: who wins matters whatever the score."""
    queries, weights = poll
    agreement = agreement_named(name)
    asked = asked_of(
        agreement, queries, weights, side_by_side=False, gated=False, threshold=threshold
    )
    assert asked.levels.size == 0
    for query, voices in enumerate(queries):
        enough = (
            k
            for k in range(1, len(weights))
            if agreement.is_decided(voices[:k], weights, threshold, can_defer=False)
        )
        assert asked.members[0][query] == next(enough, len(weights))
