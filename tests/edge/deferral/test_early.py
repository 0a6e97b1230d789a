"""Ending a response early: where deferral is certain, and where calibration says likely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from escalade.edge.calibration.early import (
    EarlyGoal,
    Responses,
    calibrate_early,
    responses_of,
    tokens_saved,
)
from escalade.edge.calibration.risk import most_misses
from escalade.edge.deferral.early import EarlyStop
from escalade.edge.deferral.entry import EarlyEntry
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import defers, rule_named
from escalade.edge.errors import CalibrationError

LONGEST = 16
responses = st.lists(
    st.lists(st.floats(-4, 0), min_size=1, max_size=LONGEST), min_size=1, max_size=8
)
names = st.sampled_from(("mean", "sum", "min", "max", "quantile:0.4"))


def stopped_at(stop: EarlyStop, logprobs: Sequence[float]) -> int | None:
    """After how many tokens generation ends before the response's last one."""
    return next((n for n in range(1, len(logprobs)) if stop(logprobs[:n])), None)


def entry(statistic: str = "mean", level: float = 0.5, min_tokens: int = 1) -> EarlyEntry:
    return EarlyEntry(
        statistic=statistic,  # type: ignore[arg-type]
        level=level,
        min_tokens=min_tokens,
        miss_rate=0.1,
        delta=0.1,
        n=1,
        misses=0,
        stopped=0.0,
        tokens_saved=0.0,
    )


@given(st.lists(st.floats(-4, 0), min_size=1, max_size=LONGEST), names, st.floats(0, 5))
def test_what_is_stopped_for_certain_would_have_been_deferred(
    logprobs: list[float], name: str, tau: float
) -> None:
    rule = rule_named(name)
    at = stopped_at(EarlyStop(rule, tau, LONGEST), logprobs)
    if at is not None:
        assert defers(rule(logprobs), tau)
        assert rule.bound(logprobs[:at], LONGEST) >= tau or tau <= 0


def test_certainty_comes_at_the_token_that_brings_it_and_stays() -> None:
    stop = EarlyStop(rule_named("sum"), 1.0, 8)
    assert [stop(values) for values in ([-0.6], [-0.6, -0.2], [-0.6, -0.2, -0.3])] == [
        False,
        False,
        True,
    ]
    assert stop.certain([-0.6, -0.2, -0.3, 0.0])
    # Asked after several tokens at once it has seen them all.
    assert EarlyStop(rule_named("sum"), 1.0, 8)([-0.6, -0.6, 0.0])


def test_a_threshold_that_every_score_reaches_needs_no_token() -> None:
    assert EarlyStop(rule_named("mean"), 0.0, 8)([])
    assert not EarlyStop(rule_named("mean"), 1e-9, 8)([])


def test_more_tokens_than_there_may_be() -> None:
    stop = EarlyStop(rule_named("mean"), 9.0, 2)
    with pytest.raises(ValueError, match="at most 2 tokens has a token 3"):
        stop([-1.0, -1.0, -1.0])


def test_likely_waits_for_its_tokens_and_its_level() -> None:
    rule = rule_named("mean")

    def at(one: EarlyEntry, *logprobs: float) -> int | None:
        return stopped_at(EarlyStop(rule, 5.0, 8, likely=one), logprobs)

    assert at(entry("mean", 0.5), -0.4, -0.8, -0.1, -0.1) == 2
    assert at(entry("mean", 0.5, min_tokens=3), -0.4, -0.8, -0.1, -0.1) is None
    assert at(entry("sum", 1.3, min_tokens=2), -0.4, -0.8, -0.1, -0.1) == 3
    assert at(entry("min", 0.8), -0.4, -0.8, -0.1, -0.1) == 2
    assert at(entry("min", 0.9), -0.4, -0.8, -0.1, -0.1) is None


@given(responses, names, st.floats(0, 4))
@settings(deadline=None)
def test_tokens_saved_are_those_that_are_not_generated(
    many: list[list[float]], name: str, tau: float
) -> None:
    rule = rule_named(name)
    found = responses_of(rule, tau, many, [LONGEST] * len(many))
    at = [stopped_at(EarlyStop(rule, tau, LONGEST), one) or len(one) for one in many]
    if tau > 0:
        assert found.certain_at.tolist() == at
        assert tokens_saved(found) == pytest.approx(1 - sum(at) / sum(map(len, many)))
    assert found.scores.tolist() == [rule(one) for one in many]


def drawn(n: int, generator: np.random.Generator) -> list[list[float]]:
    """Hard queries and easy ones; hard ones begin a little worse, and go on so."""
    many = []
    for _ in range(n):
        scale = 0.02 + 0.6 * generator.random() ** 3
        length = int(generator.integers(2, LONGEST))
        many.append((-generator.exponential(scale, size=length)).tolist())
    return many


def of(rule: DeferralRule, tau: float, many: list[list[float]]) -> Responses:
    return responses_of(rule, tau, many, [LONGEST] * len(many))


def test_the_entry_says_what_the_device_does() -> None:
    generator = np.random.default_rng(3)
    rule, tau = rule_named("mean"), 0.15
    chosen_on, set_on = drawn(300, generator), drawn(300, generator)
    found = calibrate_early(
        of(rule, tau, chosen_on), of(rule, tau, set_on), tau, EarlyGoal(0.05, 0.1)
    )
    at = [stopped_at(EarlyStop(rule, tau, LONGEST, likely=found), one) for one in set_on]
    only = [
        stopped_at(EarlyStop(rule, 1e300, LONGEST, likely=found), one) is not None for one in set_on
    ]
    kept = [not defers(rule(one), tau) for one in set_on]
    assert found.misses == sum(s and k for s, k in zip(only, kept, strict=True))
    assert found.stopped == pytest.approx(np.mean(only))
    spent = sum(one if one is not None else len(v) for one, v in zip(at, set_on, strict=True))
    assert found.tokens_saved == pytest.approx(1 - spent / sum(map(len, set_on)))
    assert found.tokens_saved > tokens_saved(of(rule, tau, set_on)) + 0.02
    assert found.misses <= most_misses(300, 0.05, 0.1)
    assert (found.n, found.miss_rate, found.delta) == (300, 0.05, 0.1)


def greatest(one: Sequence[float], statistic: str, min_tokens: int) -> float:
    """The highest level at which a response is still stopped."""
    so_far = [one[:n] for n in range(min_tokens, len(one))]
    return max((rule_named(statistic)(part) for part in so_far), default=-math.inf)


@pytest.mark.parametrize("digits", [9, 1])
def test_the_miss_rate_is_exceeded_at_most_as_often_as_delta_says(digits: int) -> None:
    """One digit makes ties of most statistics."""
    rule, tau, goal = rule_named("mean"), 0.15, EarlyGoal(0.04, 0.1)

    def rounded(n: int, seed: int) -> list[list[float]]:
        many = drawn(n, np.random.default_rng(seed))
        return [[round(value, digits) for value in one] for one in many]

    chosen_on = of(rule, tau, rounded(150, 0))
    found = [
        calibrate_early(chosen_on, of(rule, tau, rounded(150, seed)), tau, goal)
        for seed in range(2, 202)
    ]
    (key,) = {(one.statistic, one.min_tokens) for one in found}
    truth = rounded(10_000, 1)
    kept = [greatest(one, *key) for one in truth if not defers(rule(one), tau)]
    rates = [sum(value >= one.level for value in kept) / len(truth) for one in found]
    assert sum(rate > goal.miss_rate for rate in rates) <= stats.binom.ppf(0.999, 200, goal.delta)
    assert np.mean(rates) > goal.miss_rate / 4  # safe, and not for want of stopping


def test_too_few_queries_for_the_rate() -> None:
    rule = rule_named("mean")
    few = of(rule, 0.1, drawn(40, np.random.default_rng(1)))
    # 0.95^44 = 0.105, 0.95^45 = 0.0994.
    with pytest.raises(CalibrationError, match="takes at least 45 queries .* got 40"):
        calibrate_early(few, few, 0.1, EarlyGoal(0.05, 0.1))


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (EarlyGoal(0.0, 0.1), r"miss rate must be in \(0, 1\), got 0.0"),
        (EarlyGoal(0.1, 1.0), r"delta must be in \(0, 1\), got 1.0"),
        (EarlyGoal(math.nan, 0.1), "got nan"),
    ],
)
def test_a_rate_out_of_range(goal: EarlyGoal, says: str) -> None:
    few = of(rule_named("mean"), 0.1, drawn(4, np.random.default_rng(1)))
    with pytest.raises(CalibrationError, match=says):
        calibrate_early(few, few, 0.1, goal)


def test_a_token_of_probability_zero_sets_no_level() -> None:
    rule = rule_named("max")
    few = of(rule, 0.1, [[-0.1, -math.inf, -0.2]] * 50)
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate_early(few, few, 0.1, EarlyGoal(0.1, 0.1))


def test_where_nothing_is_kept_everything_may_be_stopped() -> None:
    rule = rule_named("mean")
    many = of(rule, -1.0, drawn(50, np.random.default_rng(1)))
    found = calibrate_early(many, many, -1.0, EarlyGoal(0.1, 0.1))
    assert (found.level, found.misses) == (0.0, 0)
