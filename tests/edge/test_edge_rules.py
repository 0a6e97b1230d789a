"""The deferral rule against its formula, and the decision at the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.rules import RULES, defers, mean_nll

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=40)


@given(logprobs)
def test_mean_nll_is_equation_5(values: list[float]) -> None:
    assert mean_nll(values) == pytest.approx(-math.fsum(values) / len(values), abs=1e-12)


@given(logprobs)
def test_repeating_an_answer_does_not_change_its_normalized_score(values: list[float]) -> None:
    assert mean_nll(values * 3) == pytest.approx(mean_nll(values), abs=1e-9)


@pytest.mark.parametrize("values", [[], [[-1.0]], -1.0])
def test_no_tokens_no_score(values: object) -> None:
    with pytest.raises(ValueError, match=r"shape \(N,\)"):
        mean_nll(np.array(values))


def test_the_threshold_itself_defers() -> None:
    assert defers(0.5, 0.5)
    assert not defers(np.nextafter(0.5, 0), 0.5)


def test_a_score_that_is_no_number_always_defers() -> None:
    assert defers(math.nan, 1e9)


def test_mean_is_the_rule_by_name() -> None:
    assert RULES["mean"] is mean_nll
