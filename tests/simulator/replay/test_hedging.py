"""Calls that are made a second time: never later, as many bytes as calls, one network for both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from drawn_profiles import any_profiles, simple_profiles
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from escalade.edge.trace import Hop, Trace, TraceRecord
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.network.profiles import Cycle, Profile, get_profile
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course
from escalade.simulator.replay.course import trips
from escalade.simulator.replay.setting import Setting
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.tables import latency_tables


def over(trace: Trace, network: Network, after_s: float = np.inf, seed: int = 3) -> Course:
    setting = Setting(hedge_after_s=after_s)
    (course,) = Course.of(tiers_of(trace), [network], seed=seed, setting=setting)
    return course


@pytest.fixture
def calls(make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]) -> Trace:
    """600 calls of 25 to 31 ms, 20 bytes of each a draft."""
    made = make_trace([0.9] * 600, [True] * 600, [True] * 600)

    def drafted(record: TraceRecord) -> TraceRecord:
        answer = record.tiers[1]
        assert answer is not None
        return with_answer(record, 1, link=replace(answer.link, draft_bytes=20))

    return Trace(made.header, [drafted(record) for record in made.records])


def test_a_second_call_is_never_later_and_spares_most_stalls(calls: Trace) -> None:
    """wifi-good: 40 ms, a stall of 240 ms for 2 of 1,000 packets, here 50 of 1,000."""
    lossy = Network(replace(get_profile("wifi-good"), loss=0.05))
    once, twice = over(calls, lossy), over(calls, lossy, 0.1)
    one, two = once.seconds[1][0], twice.seconds[1][0]
    again = one > 0.1
    assert 0.05 < again.mean() < 0.15  # 1 - 0.95 ** 2: up or down
    np.testing.assert_array_equal(two[~again], one[~again])
    assert (two[again] <= one[again]).all()
    # About one of ten stalls, or an answer that the first call alone can bring, is left.
    assert (two[again] < one[again] - 0.05).mean() > 0.8
    assert two.min() > 0.025 + 0.040
    np.testing.assert_array_equal(twice.again, [np.zeros(600, dtype=bool), again])
    assert not once.again.any()


def test_what_is_sent_twice_costs_twice(calls: Trace) -> None:
    """A price for each byte, and energy: of the query up, not of the one answer that counts."""
    priced = replace(get_profile("lte"), price_per_gb=1e6, joules_per_mb=1e3, joules_per_call=None)
    once, twice = over(calls, Network(priced)), over(calls, Network(priced), 0.05)
    up, down = once.bytes_up[1], once.bytes_down[1]
    assert once.spending.money is not None
    assert twice.spending.money is not None
    np.testing.assert_allclose(once.spending.money[1], 1e-3 * (up + down))
    np.testing.assert_allclose(twice.spending.money[1], 1e-3 * (2 * up + down))
    np.testing.assert_allclose(twice.spending.called_j, twice.spending.money)
    # Asked alone it gets no draft, whichever call.
    np.testing.assert_allclose(twice.spending.alone_money, 1e-3 * (2 * (up - 20) + down))


def test_a_simulation_says_how_many(calls: Trace) -> None:
    network = [Network(get_profile("lte")), Network(get_profile("lan"))]
    setting = Setting(hedge_after_s=0.05)
    summary = run_simulation({"t": calls}, network, [], seed=0, setting=setting).summary
    assert [row.asked_again for row in summary.networks] == [1.0, 0.0]
    assert latency_tables(summary)[0].head[-1] == "asked twice"
    plain = run_simulation({"t": calls}, network, [], seed=0).summary
    assert latency_tables(plain)[0].head[-1] == "cloud only mean"


def test_where_nothing_varies_it_costs_bytes_and_gains_nothing(calls: Trace) -> None:
    lte = Network(get_profile("lte"))
    once, twice = over(calls, lte), over(calls, lte, 0.05)
    np.testing.assert_array_equal(twice.seconds[1], once.seconds[1])
    assert twice.again[1].all()


def test_an_outage_holds_both_calls(calls: Trace) -> None:
    away = Profile(name="a", rtt_ms=10, outages=(Cycle(every_s=9, lasts_s=3),), source="test")
    once, twice = over(calls, Network(away)), over(calls, Network(away), 0.1)
    np.testing.assert_allclose(twice.seconds[1], once.seconds[1], rtol=0, atol=1e-9)


def test_the_link_behind_a_gateway_is_crossed_by_both(
    calls: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    """The gateway asks once: hedging is of the link to it."""
    hops = [Hop(tier="near", place="gateway", model="m"), Hop(tier="far", place="cloud", model="l")]
    trace = Trace(calls.header, [with_answer(record, 1, hops=hops) for record in calls.records])
    lossy = replace(get_profile("wifi-good"), loss=0.05)
    far = Network(lossy, (("far", get_profile("coe-100ms")),))
    once, twice = over(trace, far).seconds[1][0], over(trace, far, 0.2).seconds[1][0]
    again = once > 0.2
    np.testing.assert_array_equal(twice[~again], once[~again])
    # A second query is there after 0.22 s: the answer is known (sent back in 20 ms), or is made
    # now (another 125 ms and more). Else both calls have stalled, for 240 ms each.
    known = np.abs(twice - 0.240) < 0.002
    made = (twice > 0.220 + 0.125 + 0.020) & (twice < 0.220 + 0.131 + 0.020 + 0.002)
    stalled = twice > 0.4
    # Or the ping ahead of the first answer has, and what the second call knows is later still.
    held = np.abs(twice - 0.280) < 0.002
    assert held.any()
    assert (known | made | stalled | held)[again].all()
    assert known.any()
    assert made.any()


@settings(max_examples=40, deadline=None)
@given(
    profile=st.sampled_from([get_profile("leo"), get_profile("leo-handover")])
    | simple_profiles()
    | any_profiles(),
    after_s=st.floats(0.001, 2),
)
def test_calls_at_once_are_hedged_as_one_after_the_other(
    make_cascade: Callable[..., Trace], profile: Profile, after_s: float
) -> None:
    trace = make_cascade([1, 1], 12, linked=[False, True])
    together = over(trace, Network(profile), after_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trips, "draws_of", lambda profile: None)
        one_by_one = over(trace, Network(profile), after_s)
    assert together.seconds[1].tolist() == one_by_one.seconds[1].tolist()
    assert together.last_only_s.tolist() == one_by_one.last_only_s.tolist()
    assert together.again.tolist() == one_by_one.again.tolist()


def test_a_moment_for_a_second_call_must_come() -> None:
    with pytest.raises(SimulatorError, match="hedge_after_s must be above 0; got 0"):
        Setting(hedge_after_s=0.0)


def test_a_call_that_its_deadline_ends_is_not_made_again(calls: Trace) -> None:
    lossy = Network(replace(get_profile("wifi-good"), loss=0.05))
    for after_s, again in ((0.1, True), (0.2, False), (0.3, False)):
        setting = Setting(deadline_s=0.2, hedge_after_s=after_s)
        (course,) = Course.of(tiers_of(calls), [lossy], seed=3, setting=setting)
        assert course.again.any() == again
