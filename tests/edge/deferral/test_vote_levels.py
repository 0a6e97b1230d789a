"""How many members a vote asks, against the decision itself at every threshold."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.deferral import (
    asked_at_levels,
    asked_until_settled,
    is_decided,
    is_settled,
    vote_levels,
)

ANSWERS = st.lists(st.sampled_from(["a", "b", "", "c"]), min_size=2, max_size=6)


@given(answers=ANSWERS, threshold=st.floats(-0.5, 1.5) | st.sampled_from([-math.inf, math.inf]))
def test_a_threshold_asks_as_many_as_its_level_says(answers: list[str], threshold: float) -> None:
    members = len(answers)
    level = int(np.searchsorted(vote_levels(members), threshold))
    expected = next(k for k in range(1, members + 1) if is_decided(answers[:k], members, threshold))
    assert asked_at_levels(answers)[level] == expected


@given(answers=ANSWERS)
def test_thresholds_at_the_scores_themselves_too(answers: list[str]) -> None:
    members = len(answers)
    levels = vote_levels(members)
    assert levels == tuple(sorted((members - k) / members for k in range(1, members + 1)))
    for score in levels:
        for tau in (np.nextafter(score, -1), score, np.nextafter(score, 2)):
            level = int(np.searchsorted(levels, tau))
            assert asked_at_levels(answers)[level] == next(
                k for k in range(1, members + 1) if is_decided(answers[:k], members, float(tau))
            )


@given(answers=ANSWERS)
def test_without_a_gate_members_answer_until_the_winner_is_certain(answers: list[str]) -> None:
    asked = asked_until_settled(answers)
    assert is_settled(answers[:asked], len(answers))
    assert not any(is_settled(answers[:k], len(answers)) for k in range(1, asked))
