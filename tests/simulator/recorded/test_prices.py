"""Money by the hour: of the seconds in which a member computes, beside what its tokens cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.trace import MemberCall, Trace
from escalade.simulator.curves.curves import deferral_curve
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network, get_profile
from escalade.simulator.planning import Goal, make_plan
from escalade.simulator.recorded import hour_words, is_priced, money, tiers_of, with_prices
from escalade.simulator.replay import replay_grid
from escalade.simulator.replay.replay import replay
from escalade.simulator.replay.simulation import run_simulation

LTE = Network(get_profile("lte"))
PRICES = st.floats(0, 1e6)


@pytest.fixture(scope="module")
def trace(make_cascade: Callable[..., Trace]) -> Trace:
    return make_cascade([3, 2, 1], 40, linked=[False, False, True])


def spent(trace: Trace) -> list[np.ndarray]:
    return [tier.at_levels(money) for tier in tiers_of(trace)]


def test_an_hour_of_computing_costs_its_price(make_trace: Callable[..., Trace]) -> None:
    """The call took 25 ms, of which the model computed 20: the link is not paid by the hour."""
    trace = make_trace([0.9], [True], [True])
    assert not is_priced(trace.header)
    dear = with_prices(trace, {}, {"large": 3600.0})
    assert is_priced(dear.header)
    assert deferral_curve(dear, cost="money").cost.tolist() == [0.0, pytest.approx(0.020)]
    both = with_prices(trace, {"large": (0.0, 2e6)}, {"large": 3600.0, "small": 7200.0})
    assert deferral_curve(both, cost="money").cost.tolist() == pytest.approx([0.020, 6.040])
    assert hour_words(both.header) == [
        "an hour in which small computes costs 7200 USD; one in which it waits is not counted",
        "an hour in which large computes costs 3600 USD; one in which it waits is not counted",
    ]


def test_a_price_of_nothing_changes_nothing(trace: Trace) -> None:
    names = [member.name for tier in trace.header.tiers for member in tier.members]
    free = with_prices(trace, {}, dict.fromkeys(names, 0.0))
    for one, other in zip(spent(trace), spent(free), strict=True):
        assert np.array_equal(one, other)
    assert hour_words(free.header) == hour_words(trace.header) == []
    assert is_priced(free.header) == is_priced(trace.header)
    unpriced = with_prices(trace, dict.fromkeys(names, (0.0, 0.0)), dict.fromkeys(names, 0.0))
    assert not is_priced(unpriced.header)


@given(PRICES, PRICES)
def test_money_is_linear_in_the_price(trace: Trace, price: float, other: float) -> None:
    def at(price: float) -> list[np.ndarray]:
        return spent(with_prices(trace, {}, {"model1.0": price, "model2.0": price}))

    free = spent(trace)
    for none, one, two, both in zip(free, at(price), at(other), at(price + other), strict=True):
        np.testing.assert_allclose((one - none) + (two - none), both - none, atol=1e-6)
    seconds = np.array([answer.members[0].seconds for answer in tiers_of(trace)[2].answers])
    np.testing.assert_allclose(
        at(price)[2][0] - free[2][0], seconds * price / 3600, rtol=1e-6, atol=1e-9
    )


def test_a_grid_one_replay_a_summary_and_a_plan_agree(
    trace: Trace, make_trace: Callable[..., Trace]
) -> None:
    priced = with_prices(trace, {}, {"model0.1": 9.0, "model1.0": 90.0, "model2.0": 900.0})
    pairs = [[0.0, 0.0], [1 / 3, 0.5], [0.5, 0.3], [2.0, 2.0]]
    grid = replay_grid(priced, LTE, pairs, cost="money", seed=4)
    found = run_simulation({"t": priced}, [LTE], pairs, seed=4)
    for k, pair in enumerate(pairs):
        run = replay(priced, LTE, pair, seed=4)
        alone = run.climb.spent(spent(priced)).mean()
        assert grid.cost[k] == pytest.approx(alone)
        row = found.summary.points[k].money
        assert row is not None
        assert row.cascade == pytest.approx(alone)
    assert found.summary.notes == hour_words(priced.header)
    assert len(found.summary.notes) == 3

    two = make_trace(np.linspace(0, 1, 200).tolist(), [False] * 200, [True] * 200)
    by_the_hour = with_prices(two, {}, {"large": 3600.0})
    plan = make_plan(by_the_hour, [LTE], Goal(money_a_day=1.0, queries_a_day=100.0))
    assert plan.met
    (row,) = plan.figures
    assert row.money is not None
    # Only the cloud is right, in 23 ms on average: as many go up as can be paid for.
    assert row.money.value == pytest.approx(0.023 * row.calls.value, rel=0.02)
    assert row.calls.value == pytest.approx(0.01 / 0.023, abs=0.12)


def test_a_model_elsewhere_is_paid_for_what_its_server_says(
    make_cascade: Callable[..., Trace],
) -> None:
    """Not for the call, which is among the seconds of a member elsewhere."""
    trace = make_cascade([1, 2], 3, linked=[False, True])
    tier = tiers_of(with_prices(trace, {}, {"model1.1": 3600.0}))[1]
    answer = tier.answers[0]
    free = money(answer, tiers_of(trace)[1].info)
    own, elsewhere = answer.members
    assert money(answer, tier.info) - free == pytest.approx(elsewhere.seconds)
    assert answer.link is not None
    link = msgspec.structs.replace(answer.link, server_s=0.125)
    far = msgspec.structs.replace(elsewhere, seconds=0.5, call=MemberCall(link=link))
    said = msgspec.structs.replace(answer, members=[own, far], link=None)
    assert money(said, tier.info) - free == pytest.approx(0.125)


def test_prices_of_an_hour_are_checked(trace: Trace) -> None:
    with pytest.raises(SimulatorError, match=r"one of model0\.0, .*; got 'model2'; did you mean"):
        with_prices(trace, {}, {"model2": 1.0})
    for price in (-1.0, math.nan, math.inf):
        with pytest.raises(SimulatorError, match=rf"'model2.0' must be .* >= 0; got {price}"):
            with_prices(trace, {}, {"model2.0": price})
