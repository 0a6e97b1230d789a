"""Joules and money of links by hand, and what is not known left open."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from escalade.edge.trace import Hop, Trace, TraceRecord
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Network
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course, Replay
from escalade.simulator.replay.setting import AS_RECORDED, Setting
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.tables import spending_tables

FRAMING = GRPC_BYTES_UP + GRPC_BYTES_DOWN
PHONE = Device(name="phone", resnet18_ms=10, watts=2.0, battery_wh=15.0, source="test")
METERED = Profile(
    name="metered",
    rtt_ms=10,
    price_per_gb=5.0,
    joules_per_mb=400.0,
    joules_per_call=12.0,
    source="test",
)


def on(trace: Trace, network: Network, setting: Setting, tau: float = 0.5) -> Replay:
    (course,) = Course.of(tiers_of(trace), [network], seed=0, setting=setting)
    return Replay.of(course, [tau])


@pytest.fixture
def three(make_trace: Callable[..., Trace]) -> Trace:
    """The device takes 10, 11, 12 ms; the first and the last defer."""
    return make_trace([0.9, 0.1, 0.5], [False, True, False], [True, True, False])


def test_joules_and_money_by_hand(three: Trace) -> None:
    run = on(three, Network(METERED), Setting(device=Replayed(PHONE, 3.0)))
    moved = np.array([200 + 120, 201 + 121, 202 + 122]) + FRAMING
    called = 12.0 + 400.0 * moved / 1e6
    computed = 2.0 * 3.0 * np.array([0.010, 0.011, 0.012])
    assert run.joules is not None
    assert run.link_money is not None
    np.testing.assert_allclose(run.joules, computed + called * [1, 0, 1])
    np.testing.assert_allclose(run.link_money, 5.0 * moved / 1e9 * [1, 0, 1])
    # Alone the last tier has every call, and the device computes nothing.
    np.testing.assert_allclose(run.course.spending.alone_j, called)
    np.testing.assert_allclose(run.course.spending.alone_money, 5.0 * moved / 1e9)


def test_what_nobody_says_is_left_open(three: Trace) -> None:
    lte = Network(get_profile("lte"))
    powered = Setting(device=Replayed(PHONE, 1.0))
    silent = Network(Profile(name="silent", rtt_ms=1, source="test"))
    assert on(three, silent, powered).joules is None
    assert on(three, Network(METERED), AS_RECORDED).joules is None
    assert on(three, lte, AS_RECORDED).link_money is None
    by_call = Network(Profile(name="p", rtt_ms=1, joules_per_call=1.0, source="test"))
    run = on(three, by_call, powered, tau=-1.0)
    assert run.joules is not None
    np.testing.assert_allclose(run.joules, 1.0 + 2.0 * np.array([0.010, 0.011, 0.012]))


def test_links_behind_a_gateway_cost_money_and_no_battery(
    three: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    hops = [Hop(tier="near", place="gateway", model="m"), Hop(tier="far", place="cloud", model="l")]
    trace = Trace(three.header, [with_answer(one, 1, hops=hops) for one in three.records])
    far = replace(METERED, name="far", price_per_gb=7.0)
    setting = Setting(device=Replayed(PHONE, 1.0))
    both = on(trace, Network(METERED, (("far", far),)), setting, tau=-1.0)
    near = on(trace, Network(METERED, (("far", get_profile("free")),)), setting, tau=-1.0)
    assert both.link_money is not None
    assert near.link_money is not None
    np.testing.assert_allclose(both.link_money, near.link_money * 12 / 5)
    np.testing.assert_array_equal(both.joules, near.joules)


def test_a_draft_costs_bytes_that_the_last_tier_alone_saves(
    three: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    def drafted(record: TraceRecord) -> TraceRecord:
        answer = record.tiers[1]
        assert answer is not None
        return with_answer(record, 1, link=replace(answer.link, draft_bytes=50))

    trace = Trace(three.header, [drafted(record) for record in three.records])
    run = on(trace, Network(METERED), Setting(device=Replayed(PHONE, 1.0)), tau=-1.0)
    plain = on(three, Network(METERED), Setting(device=Replayed(PHONE, 1.0)), tau=-1.0)
    saved = plain.course.spending.alone_j - run.course.spending.alone_j  # type: ignore[operator]
    np.testing.assert_allclose(saved, 400 * 50 / 1e6)
    np.testing.assert_array_equal(run.joules, plain.joules)


def test_a_simulation_sums_them_by_query_and_by_link(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1, 1], 40, linked=[False, True, True], thresholds=[0.5, 0.5])
    networks = [Network(METERED), Network(METERED, (("tier1", get_profile("lan")),))]
    setting = Setting(device=Replayed(PHONE, 1.0))
    summary = run_simulation({"t": trace}, networks, [], seed=0, setting=setting).summary
    row, mixed = summary.networks
    assert [(link.tier, link.profile) for link in mixed.links] == [
        ("tier1", "lan"), ("tier2", "metered"),
    ]  # fmt: skip
    assert (mixed.links[0].joules, mixed.joules) == (None, None)
    assert mixed.links[1].joules == row.links[1].joules
    assert row.joules is not None
    assert row.link_money is not None
    assert row.link_money.cascade == pytest.approx(sum(link.money or 0 for link in row.links))
    computed = [record.tiers[0].seconds + record.total_s for record in trace.records]
    assert 0 < row.joules.cascade - sum(link.joules or 0 for link in row.links) < 2 * max(computed)
    (table,) = spending_tables(summary)
    assert table.head[3:5] == ["link to tier1", "link to tier2"]
    assert table.rows[0][2].detail.endswith("queries a charge")
    plain = run_simulation({"t": trace}, [Network(get_profile("free"))], [], seed=0).summary
    assert spending_tables(plain) == []
