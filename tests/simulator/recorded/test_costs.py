"""Costs: every member that ran is charged, whatever the model."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import TierAnswer, Trace
from escalade.simulator.curves.curves import deferral_curve
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.costs import COSTS, CostModel, cost_named
from escalade.simulator.recorded.prices import with_prices
from escalade.simulator.recorded.tiers import tiers_of


def test_every_cost_model_charges_equation_6(make_trace: Callable[..., Trace]) -> None:
    prices = ((0.0, 0.1e6), (1.0e6, 3.0e6))
    trace = make_trace([0.9, 0.1], [True, True], [True, True], prices=prices)
    small = [record.tiers[0].members[0] for record in trace.records]
    large = trace.records[0].tiers[1]
    spoken, link = large.members[0], large.link
    tokens = np.mean([one.prompt_tokens + one.generated_tokens for one in small])
    large_tokens = spoken.prompt_tokens + spoken.generated_tokens
    seconds = np.mean([one.seconds for one in small])
    small_price = 0.1 * np.mean([one.generated_tokens for one in small])
    large_price = spoken.prompt_tokens * 1.0 + spoken.generated_tokens * 3.0
    ends = {
        "flops_per_token": (200.0, 200.0 + 2000.0 / 2),
        "flops_per_query": (200.0 * tokens, 200.0 * tokens + 2000.0 * large_tokens / 2),
        "money": (small_price, small_price + large_price / 2),
        "deferral_rate": (0.0, 0.5),
        "bytes": (0.0, (link.bytes_up + link.bytes_down) / 2),
        "seconds": (seconds, seconds + link.round_trip_s / 2),
    }
    assert ends.keys() == COSTS.keys()
    for name, (none_deferred, first_deferred) in ends.items():
        curve = deferral_curve(trace, cost=name)
        assert curve.cost[:2] == pytest.approx([none_deferred, first_deferred]), name


@pytest.mark.parametrize("name", ["flops_per_token", "flops_per_query", "money"])
def test_an_ensemble_costs_what_its_members_do(
    make_cascade: Callable[..., Trace], name: str
) -> None:
    tier = tiers_of(make_cascade([3, 1], 10))[0]
    model = cost_named(name)
    for answer in tier.answers:
        alone = [
            model(msgspec.structs.replace(answer, members=[member]), tier.info)
            for member in answer.members
        ]
        assert min(alone) > 0
        assert model(answer, tier.info) == pytest.approx(sum(alone))


@pytest.mark.parametrize(("side_by_side", "together"), [(False, sum), (True, max)])
def test_members_side_by_side_take_as_long_as_the_slowest(
    make_cascade: Callable[..., Trace], side_by_side: bool, together: Callable[..., float]
) -> None:
    tier = tiers_of(make_cascade([3, 1], 10, side_by_side=[side_by_side, False]))[0]
    for answer in tier.answers:
        expected = together(member.seconds for member in answer.members)
        assert COSTS["seconds"](answer, tier.info) == pytest.approx(expected)


def test_a_model_of_ones_own_says_what_a_member_costs(make_cascade: Callable[..., Trace]) -> None:
    joules = CostModel(
        name="joules", label="Energy", unit="J", of_member=lambda one, info: one.seconds * 3
    )
    trace = make_cascade([2, 1], 10)
    tier = tiers_of(trace)[0]
    assert cost_named(joules) is joules
    for answer in tier.answers:
        assert joules(answer, tier.info) == pytest.approx(
            3 * sum(m.seconds for m in answer.members)
        )
    assert (deferral_curve(trace, cost=joules).cost > 0).all()


def test_prices_can_be_others_than_those_recorded(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9], [True], [True])
    with pytest.raises(SimulatorError, match="'money' needs the price of at least 1 member"):
        deferral_curve(trace, cost="money")
    dear = with_prices(trace, {"large": (0.0, 2e6)})
    assert deferral_curve(dear, cost="money").cost.tolist() == [0.0, 6.0]
    assert with_prices(dear, {}) == dear
    with pytest.raises(SimulatorError, match=r"one of small, large; got 'lurge'; did you mean 'la"):
        with_prices(trace, {"lurge": (1.0, 1.0)})
    for price in (-1.0, math.nan, math.inf):
        with pytest.raises(SimulatorError, match=rf"price of 'small' must be .* got {price}"):
            with_prices(trace, {"small": (0.0, price)})


def test_a_cost_model_that_is_unknown_or_wrong_is_refused(
    make_trace: Callable[..., Trace], make_cascade: Callable[..., Trace]
) -> None:
    trace = make_trace([0.7, 0.9], [True, False], [True, True])
    with pytest.raises(
        SimulatorError, match=r"cost must be one of flops_per_token, .* got 'flops'"
    ):
        deferral_curve(trace, cost="flops")
    for value in (-1.0, math.nan, math.inf):
        wrong = CostModel(
            name="mine", label="Mine", unit="EUR", of_member=lambda one, info, value=value: value
        )
        with pytest.raises(SimulatorError, match=rf"'cloud' must be .* >= 0; got {value}"):
            deferral_curve(trace, cost=wrong)
    # Nor is a member that pays made good by one that costs.
    tier = tiers_of(make_cascade([2, 1], 1))[0]
    paid = CostModel(
        name="mine", label="Mine", unit="EUR", of_member=lambda one, info: 5.0 * one.member - 1.0
    )
    with pytest.raises(SimulatorError, match=r"'tier0' must be .* >= 0; got -1.0"):
        paid(tier.answers[0], tier.info)
    weightless = make_trace([0.7], [True], [True], parameters=(0, 10))
    with pytest.raises(SimulatorError, match=r"'small': parameters must be >= 1; got 0"):
        deferral_curve(weightless)


def test_a_link_costs_beside_the_members_behind_it(make_cascade: Callable[..., Trace]) -> None:
    model = CostModel(
        name="mine", label="Mine", unit="EUR", of_member=lambda one, info: 1.0,
        of_link=lambda link: 10.0,
    )  # fmt: skip
    tiers = tiers_of(make_cascade([2, 3], 5))
    expected: list[Callable[[TierAnswer], float]] = [lambda _: 2.0, lambda _: 13.0]
    for tier, value in zip(tiers, expected, strict=True):
        assert [model(answer, tier.info) for answer in tier.answers] == [
            value(answer) for answer in tier.answers
        ]


def test_models_that_a_trace_does_not_name_have_no_cost(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.7, 0.9], [True, False], [True, True])
    small, large = trace.header.tiers
    nameless = msgspec.structs.replace(large, members=[])
    header = msgspec.structs.replace(trace.header, tiers=[small, nameless])
    with pytest.raises(SimulatorError, match="does not say which models tier 'cloud' has; use one"):
        deferral_curve(Trace(header, trace.records))
