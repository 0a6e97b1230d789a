"""Every deferral rule against its formula, its names, and the decision at the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.deferral.rules import RULES, defers, mean_nll, rule_named

NAMES = ("mean", "sum", "min", "max", "quantile:0", "quantile:0.4", "quantile:0.8", "quantile:1")

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=40)
quantiles = st.floats(0, 1)
names = st.one_of(st.sampled_from(NAMES), quantiles.map(lambda q: f"quantile:{q!r}"))


@given(logprobs)
def test_mean_nll_is_equation_5(values: list[float]) -> None:
    assert mean_nll(values) == pytest.approx(-math.fsum(values) / len(values), abs=1e-12)


@given(logprobs)
def test_repeating_an_answer_does_not_change_its_normalized_score(values: list[float]) -> None:
    assert mean_nll(values * 3) == pytest.approx(mean_nll(values), abs=1e-9)
    assert rule_named("sum")(values * 3) == pytest.approx(3 * rule_named("sum")(values), abs=1e-9)


@given(logprobs, quantiles)
def test_every_rule_is_numpys(values: list[float], q: float) -> None:
    assert rule_named("sum")(values) == pytest.approx(-np.sum(values), abs=1e-9)
    assert rule_named("min")(values) == -np.min(values)
    assert rule_named("max")(values) == -np.max(values)
    wanted = -np.quantile(values, q)
    assert rule_named(f"quantile:{q!r}")(values) == pytest.approx(wanted, abs=1e-9)


@given(logprobs)
def test_the_ends_of_the_quantiles_are_min_and_max(values: list[float]) -> None:
    assert rule_named("quantile:0")(values) == rule_named("min")(values)
    assert rule_named("quantile:1")(values) == rule_named("max")(values)


@given(st.floats(-50, 0), names)
def test_of_one_token_all_rules_say_the_same(value: float, name: str) -> None:
    assert rule_named(name)([value]) == -value


@given(logprobs, names, st.data())
def test_lowering_a_logprob_never_lowers_a_score(
    values: list[float], name: str, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(values) - 1))
    drop = data.draw(st.one_of(st.floats(0, 60), st.just(math.inf)))
    lowered = [*values]
    lowered[index] -= drop
    assert rule_named(name)(lowered) >= rule_named(name)(values)


@given(logprobs, names, st.randoms(use_true_random=False))
def test_the_order_of_the_tokens_does_not_matter(
    values: list[float], name: str, random: np.random.Generator
) -> None:
    shuffled = [*values]
    random.shuffle(shuffled)
    assert rule_named(name)(shuffled) == pytest.approx(rule_named(name)(values), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", [[], [[-1.0]], -1.0])
def test_no_tokens_no_score(values: object, name: str) -> None:
    with pytest.raises(ValueError, match=r"shape \(N,\)"):
        rule_named(name)(np.array(values))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_logprob_makes_every_score_nan_and_defers(name: str, broken: float) -> None:
    score = rule_named(name)([-0.1, broken, -math.inf, -0.2])
    assert math.isnan(score)
    assert defers(score, 1e9)


@pytest.mark.parametrize(
    ("name", "one_impossible", "all_impossible"),
    [
        ("mean", math.inf, math.inf),
        ("sum", math.inf, math.inf),
        ("min", math.inf, math.inf),
        ("max", 1.0, math.inf),
        ("quantile:0.25", math.inf, math.inf),  # between the impossible token and the next
        ("quantile:0.5", 2.0, math.inf),
    ],
)
def test_a_token_of_probability_zero_is_as_unsure_as_can_be(
    name: str, one_impossible: float, all_impossible: float
) -> None:
    assert rule_named(name)([-1.0, -math.inf, -2.0]) == one_impossible
    assert rule_named(name)([-math.inf] * 3) == all_impossible


def test_the_threshold_itself_defers() -> None:
    assert defers(0.5, 0.5)
    assert not defers(np.nextafter(0.5, 0), 0.5)


def test_a_score_that_is_no_number_always_defers() -> None:
    assert defers(math.nan, 1e9)


def test_the_plain_rules_by_name() -> None:
    assert RULES["mean"] is mean_nll
    assert list(RULES) == ["mean", "sum", "min", "max"]
    assert all(rule_named(name) is rule for name, rule in RULES.items())
    assert all(rule.name == name for name, rule in RULES.items())


@given(quantiles)
def test_a_quantile_knows_its_name(q: float) -> None:
    rule = rule_named(f"quantile:{q!r}")
    assert rule_named(rule.name)([-1.0, -2.0, -4.0]) == rule([-1.0, -2.0, -4.0])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("meen", r"mean, sum, min, max, quantile:Q .*got 'meen'; did you mean 'mean'\?"),
        ("quantil:0.4", "did you mean 'quantile'?"),
        ("", "got ''; "),
        ("mean:2", "got 'mean:2'"),
        ("quantile", r"must be a number in \[0, 1\], got ''"),
        ("quantile:", "got ''"),
        ("quantile:much", "got 'much'"),
        ("quantile:1.5", r"must be a number in \[0, 1\], got '1.5'"),
        ("quantile:-0.1", "got '-0.1'"),
        ("quantile:nan", "got 'nan'"),
    ],
)
def test_an_unknown_rule_is_named_with_the_known_ones(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rule_named(name)


def test_scores_of_many_queries_defer_as_each_does_alone() -> None:
    scores = np.array([[0.1, 0.5], [math.nan, math.inf], [-math.inf, 0.9]])
    for threshold in (-math.inf, 0.5, math.inf):
        alone = [[defers(float(score), threshold) for score in row] for row in scores]
        assert defers(scores, threshold).tolist() == alone
