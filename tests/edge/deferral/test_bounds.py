"""The bound of every rule: no response comes below it, one comes to it, and rounding is paid for.

A response is a prefix and a continuation; the bound sees the prefix and the longest length.
"""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from escalade.edge.deferral.early import EarlyStop
from escalade.edge.deferral.router import Router
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import defers, rule_named

quantiles = st.floats(0, 1).map(lambda q: f"quantile:{q!r}")
names = st.one_of(st.sampled_from(("mean", "sum", "min", "max", "quantile:0.4")), quantiles)

# Ordinary values, the ends, and what rounds worst: many sizes at once, and numbers that are no
# binary fractions.
logprob = st.one_of(
    st.floats(-50, 0),
    st.sampled_from([0.0, -0.0, -math.inf, -0.1, -1 / 3, -1e-300, -5e-324, -1e300]),
    st.integers(1, 9).map(lambda n: -n / 10),
)


@st.composite
def responses(draw: st.DrawFn) -> tuple[list[float], list[float], int]:
    """A prefix of at least one token, a continuation, and how long the whole may be."""
    prefix = draw(st.lists(logprob, min_size=1, max_size=30))
    rest = draw(st.lists(logprob, max_size=30))
    longest = len(prefix) + len(rest) + draw(st.integers(0, 30))
    return prefix, rest, longest


def random_router(widths: list[int], seed: int, scale: float = 1.0) -> Router:
    generator = np.random.default_rng(seed)
    return Router(
        [
            (scale * generator.normal(size=(outputs, inputs)), generator.normal(size=outputs))
            for inputs, outputs in itertools.pairwise(widths)
        ]
    )


routers = st.builds(
    random_router,
    st.lists(st.integers(1, 6), max_size=2).flatmap(
        lambda hidden: st.integers(1, 24).map(lambda length: [length, *hidden, 1])
    ),
    st.integers(0, 999),
    st.sampled_from([1e-3, 1.0, 1e6, 1e30]),
)
rules = st.one_of(names.map(rule_named), routers)


@given(rules, responses())
@settings(deadline=None, max_examples=250)
@example(rule_named("mean"), ([-0.1, -0.1], [-0.1], 3))
@example(rule_named("quantile:0.3"), ([-0.1, -0.1, -0.1], [-0.1] * 4, 7))
@example(rule_named("mean"), ([-5e-324] * 3, [-5e-324], 4))
def test_no_response_scores_below_the_bound(
    rule: DeferralRule, response: tuple[list[float], list[float], int]
) -> None:
    prefix, rest, longest = response
    for cut in range(len(rest) + 1):
        final = rule([*prefix, *rest[:cut]])
        assert not final < rule.bound(prefix, longest)
        assert not final < rule.lowest


@given(rules, responses(), st.integers(-3, 3))
@settings(deadline=None, max_examples=250)
def test_certain_means_that_the_whole_response_defers(
    rule: DeferralRule, response: tuple[list[float], list[float], int], ulps: int
) -> None:
    """With thresholds a few doubles around the final score, where rounding would show."""
    prefix, rest, longest = response
    final = rule([*prefix, *rest])
    tau = final
    for _ in range(abs(ulps)):
        tau = float(np.nextafter(tau, math.copysign(math.inf, ulps)))
    if not math.isfinite(tau):
        tau = 1e300
    if EarlyStop(rule, tau, longest).certain(prefix):
        assert defers(final, tau)


def rules_that_round() -> list[DeferralRule]:
    return [
        *map(rule_named, ("mean", "sum", "quantile:0.4", "quantile:0.77")),
        *(random_router([40, 1], seed) for seed in range(3)),
    ]


@pytest.mark.parametrize("rule", rules_that_round(), ids=lambda rule: rule.name)
def test_what_rounding_takes_from_a_score_is_paid_for(rule: DeferralRule) -> None:
    """Without the room that the bound leaves, from 5 (quantile) to 200 (sum) of these fail."""
    generator = np.random.default_rng(1)
    for trial in range(1000):
        values = -generator.exponential(size=1 + trial % 40)
        if trial % 3 == 0:
            values[:] = values[0]  # every length has one score, but for rounding
        whole = [*values, 0.0]
        cut = int(generator.integers(1, len(whole)))
        bound = rule.bound(whole[:cut], len(whole))
        for length in range(cut, len(whole) + 1):
            assert bound <= rule(whole[:length])


def cheapest(name: str, prefix: list[float], longest: int) -> list[float]:
    """The continuation that the proof says attains the bound."""
    return [] if name in {"sum", "min"} else [0.0] * (longest - len(prefix))


@given(names, responses())
@settings(deadline=None, max_examples=250)
def test_some_response_comes_to_the_bound(
    name: str, response: tuple[list[float], list[float], int]
) -> None:
    prefix, _, longest = response
    rule = rule_named(name)
    attained = rule([*prefix, *cheapest(name, prefix, longest)])
    assert rule.bound(prefix, longest) == pytest.approx(attained, rel=1e-9, abs=1e-9)


@given(responses(), st.integers(0, 999))
@settings(deadline=None)
def test_without_hidden_layers_the_routers_bound_is_attained(
    response: tuple[list[float], list[float], int], seed: int
) -> None:
    prefix, _, longest = response
    router = random_router([20, 1], seed)
    weights = router._layers[0][0][0]
    # An unseen token of probability 1 where that lowers the logit, of 0 where it raises it.
    rest = [
        0.0 if n < weights.size and weights[n] < 0 else -math.inf
        for n in range(len(prefix), longest)
    ]
    assert router.bound(prefix, longest) == pytest.approx(router([*prefix, *rest]), abs=1e-9)


@given(st.one_of(names.map(rule_named), st.just(random_router([9, 5, 1], 7))), responses())
@settings(deadline=None)
def test_the_last_token_settles_the_score(
    rule: DeferralRule, response: tuple[list[float], list[float], int]
) -> None:
    values = [*response[0], *response[1]]
    score = rule(values)
    assert rule.bound(values, len(values)) == pytest.approx(score, rel=1e-9, abs=1e-6)


@given(rules, responses(), st.data())
@settings(deadline=None)
def test_a_broken_prefix_is_certain(
    rule: DeferralRule, response: tuple[list[float], list[float], int], data: st.DataObject
) -> None:
    prefix, rest, longest = response
    prefix[data.draw(st.integers(0, len(prefix) - 1))] = data.draw(
        st.sampled_from([math.nan, math.inf])
    )
    assert rule.bound(prefix, longest) == math.inf
    assert EarlyStop(rule, 1e300, longest).certain(prefix)
    assert defers(rule([*prefix, *rest]), 1e300)


@given(rules, responses())
@settings(deadline=None)
def test_token_by_token_is_all_at_once(
    rule: DeferralRule, response: tuple[list[float], list[float], int]
) -> None:
    prefix, _, longest = response
    add = rule.running_bound(longest)
    for n, value in enumerate(prefix, start=1):
        assert add(value) == rule.bound(prefix[:n], longest)


@pytest.mark.parametrize(
    "rule", [rule_named("mean"), random_router([4, 3, 1], 1)], ids=["mean", "router"]
)
def test_what_has_no_bound(rule: DeferralRule) -> None:
    with pytest.raises(ValueError, match=r"shape \(N,\)"):
        rule.bound([], 3)
    with pytest.raises(ValueError, match="at most 2 tokens has a token 3"):
        rule.bound([-1.0] * 3, 2)
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        rule.running_bound(0)


def test_by_hand() -> None:
    def bound(name: str, prefix: list[float], longest: int) -> float:
        return rule_named(name).bound(prefix, longest)

    assert bound("mean", [-1.0, -2.0], 4) == pytest.approx(0.75)
    assert bound("sum", [-1.0, -2.0], 4) == pytest.approx(3.0)
    assert bound("min", [-1.0, -2.0], 4) == 2.0
    assert bound("max", [-1.0, -2.0], 4) == 0.0
    assert bound("max", [-1.0, -2.0], 2) == 1.0
    # -2, -1, 0, 0 rising; position 0.4 * 3 = 1.2, between -1 and 0.
    assert bound("quantile:0.4", [-1.0, -2.0], 4) == pytest.approx(0.8)
    assert bound("mean", [-math.inf], 9) == math.inf


def test_with_hidden_layers_the_routers_bound_need_not_be_attained() -> None:
    """|p - 1/2| out of two units: at least 0, but each unit alone might lower it by 1/2."""
    router = Router(
        [([[1.0], [-1.0]], [-0.5, 0.5]), ([[1.0, 1.0]], [0.0])],
    )
    assert router([math.log(0.5)]) == pytest.approx(0.0, abs=1e-7)
    both = Router([([[1.0], [1.0]], [0.0, 0.0]), ([[1.0, -1.0]], [0.0])])
    assert both([math.log(0.3)]) == pytest.approx(0.0, abs=1e-7)
    assert both.lowest == pytest.approx(-1.0)


def test_a_router_so_wild_that_its_logit_overflows_is_never_called_certain() -> None:
    layers = [([[3e38]], [0.0])] * 9
    mixed = Router([*layers, ([[1.0], [1.0]], [0.0, 0.0]), ([[1.0, -1.0]], [0.0])])
    with np.errstate(over="ignore", invalid="ignore"):
        assert Router(layers)([0.0]) == math.inf
        assert math.isnan(mixed([0.0]))
        assert not EarlyStop(mixed, -sys.float_info.max, 3).certain([0.0])
