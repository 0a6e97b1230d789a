"""Virtual-time replay against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Hop, Trace, TraceRecord
from escalade.simulator.errors import ProfileError, SimulatorError
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import Cycle, Profile, get_profile
from escalade.simulator.replay.latency import latency_of
from escalade.simulator.replay.replay import replay
from escalade.simulator.replay.setting import Setting


def over(profile: str) -> Network:
    return Network(get_profile(profile))


@pytest.fixture
def three(make_trace: Callable[..., Trace]) -> Trace:
    """Generate 10, 11, 12 ms; round trips 25, 26, 27 ms; the first and the last defer."""
    return make_trace([0.9, 0.1, 0.5], [False, True, False], [True, True, False])


def test_coe_100ms_by_hand(three: Trace) -> None:
    run = replay(three, over("coe-100ms"), [0.5], seed=0)
    assert run.answered_by.tolist() == [1, 0, 1]
    np.testing.assert_allclose(run.course.last_only_s, [0.125, 0.126, 0.127])
    np.testing.assert_allclose(run.cascade_s, [0.010 + 0.125, 0.011, 0.012 + 0.127])
    latency = latency_of(run.course.last_only_s)
    assert latency.p50_s == pytest.approx(0.126)
    assert latency.p95_s == pytest.approx(0.126 + 0.9 * 0.001)
    assert latency.mean_s == pytest.approx(0.126)


def test_a_call_that_finds_no_connection_takes_three_round_trips_more(
    three: Trace, make_cascade: Callable[..., Trace]
) -> None:
    run = replay(three, over("coe-100ms"), [0.5], setting=Setting(dialled=1.0), seed=0)
    np.testing.assert_allclose(run.course.last_only_s, [0.425, 0.426, 0.427])
    np.testing.assert_allclose(run.cascade_s, [0.010 + 0.425, 0.011, 0.012 + 0.427])
    many = make_cascade([1, 1], 400, linked=[False, True])
    open_s, mixed_s = (
        replay(
            many, over("coe-100ms"), [0.5], setting=Setting(dialled=share), seed=1
        ).course.last_only_s
        for share in (0.0, 0.25)
    )
    dialled = mixed_s - open_s > 0.1
    assert 0.2 < dialled.mean() < 0.3  # 2 of its standard errors
    np.testing.assert_allclose((mixed_s - open_s)[dialled], 0.3)
    with pytest.raises(SimulatorError, match=r"dialled must be in \[0, 1\]; got 1.5"):
        Setting(dialled=1.5)


def test_bytes_and_calls_by_hand(three: Trace) -> None:
    run = replay(three, over("free"), [0.5], seed=0)
    assert (run.queries, run.calls) == (3, 2)
    assert run.bytes_up.tolist() == [0, 200 + 202 + 2 * GRPC_BYTES_UP]
    assert run.bytes_down.tolist() == [0, 120 + 122 + 2 * GRPC_BYTES_DOWN]
    assert run.last_only_bytes_up == 200 + 201 + 202 + 3 * GRPC_BYTES_UP
    assert run.last_only_bytes_down == 120 + 121 + 122 + 3 * GRPC_BYTES_DOWN
    assert run.calls_saved == pytest.approx(1 / 3)
    saved = 201 + GRPC_BYTES_UP + 121 + GRPC_BYTES_DOWN
    assert run.bytes_saved == pytest.approx(
        saved / (run.last_only_bytes_up + run.last_only_bytes_down)
    )


def test_bandwidth_counts_the_bytes_of_each_direction(three: Trace) -> None:
    profile = Profile(name="slow", rtt_ms=0, down_mbps=0.008, up_mbps=0.004, source="test")
    run = replay(three, Network(profile), [0.5], seed=0)
    # 1000 B/s down, 500 B/s up.
    up_s, down_s = (200 + GRPC_BYTES_UP) / 500, (120 + GRPC_BYTES_DOWN) / 1000
    assert run.course.last_only_s[0] == pytest.approx(up_s + 0.025 + down_s)


def test_free_network_gives_the_recorded_times(realistic_trace: Trace) -> None:
    run = replay(realistic_trace, over("free"), [0.35], seed=0)
    answers = [record.tiers for record in realistic_trace.records]
    trips = np.array([cloud.link.round_trip_s for _, cloud in answers])
    generate = np.array([device.members[0].seconds for device, _ in answers])
    np.testing.assert_allclose(run.course.last_only_s, trips)
    np.testing.assert_allclose(run.cascade_s, generate + run.answered_by * trips)


def test_what_no_tier_and_no_call_took_is_as_long_on_every_network(three: Trace) -> None:
    def slower(record: TraceRecord) -> TraceRecord:
        """By 1 ms before the first tier, and by 2 ms around a call."""
        device, cloud = record.tiers
        assert device is not None
        assert cloud is not None
        tiers = [device, msgspec.structs.replace(cloud, seconds=cloud.seconds + 0.002)]
        total_s = record.total_s + 0.001 + 0.002 * record.answered_by
        return msgspec.structs.replace(record, tiers=tiers, total_s=total_s)

    late = Trace(three.header, [slower(record) for record in three.records])
    for profile in ("free", "coe-100ms"):
        before, after = (replay(trace, over(profile), [0.5], seed=0) for trace in (three, late))
        np.testing.assert_allclose(after.cascade_s - before.cascade_s, [0.003, 0.001, 0.003])
        np.testing.assert_allclose(after.course.last_only_s - before.course.last_only_s, 0.002)


def test_server_time_beyond_the_round_trip_is_not_shortened(
    three: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    link = msgspec.structs.replace(three.records[0].tiers[1].link, round_trip_s=0.01, server_s=0.02)
    records = [with_answer(three.records[0], 1, link=link, seconds=0.01), *three.records[1:]]
    run = replay(three._replace(records=records), over("free"), [0.5], seed=0)
    assert run.course.last_only_s[0] == pytest.approx(0.02)


def test_infinite_threshold_never_calls_and_lowest_always_does(three: Trace) -> None:
    none = replay(three, over("lte"), [math.inf], seed=0)
    assert (none.calls, none.calls_saved, none.bytes_saved) == (0, 1.0, 1.0)
    np.testing.assert_allclose(none.cascade_s, [0.010, 0.011, 0.012])
    every = replay(three, over("lte"), [-math.inf], seed=0)
    assert (every.calls, every.calls_saved, every.bytes_saved) == (3, 0.0, 0.0)


def test_same_seed_same_times_other_seed_other_times(realistic_trace: Trace) -> None:
    first = replay(realistic_trace, over("leo"), [0.35], seed=7)
    again = replay(realistic_trace, over("leo"), [0.35], seed=7)
    other = replay(realistic_trace, over("leo"), [0.35], seed=8)
    np.testing.assert_array_equal(first.cascade_s, again.cascade_s)
    np.testing.assert_array_equal(first.course.last_only_s, again.course.last_only_s)
    assert (first.course.last_only_s != other.course.last_only_s).mean() > 0.99


def test_a_querys_network_depends_on_no_other_query_and_no_threshold(
    realistic_trace: Trace,
) -> None:
    whole = replay(realistic_trace, over("leo"), [0.35], seed=7)
    part = realistic_trace._replace(records=realistic_trace.records[:10])
    np.testing.assert_array_equal(
        replay(part, over("leo"), [0.1], seed=7).course.last_only_s, whole.course.last_only_s[:10]
    )


def test_jittered_network_has_the_profiles_median(realistic_trace: Trace) -> None:
    leo = get_profile("leo")
    run = replay(realistic_trace, over("leo"), [0.35], seed=7)
    free = replay(realistic_trace, over("free"), [0.35], seed=7)
    # Bandwidth adds 0.2 ms; 1000 draws put the median of an IQR of 20 ms within 1.5 ms.
    network_s = run.course.last_only_s - free.course.last_only_s
    assert float(np.median(network_s)) == pytest.approx(leo.rtt_ms / 1e3, abs=0.002)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_named(three: Trace, seed: int) -> None:
    with pytest.raises(SimulatorError, match=rf"seed must be in \[0, {2**64 - 1}\]; got {seed}"):
        replay(three, over("free"), [0.5], seed=seed)


def test_replay_refuses_nan_and_missing_answers(
    three: Trace, without_answer: Callable[..., TraceRecord]
) -> None:
    with pytest.raises(SimulatorError, match="threshold of tier 'device' must be a number; got na"):
        replay(three, over("free"), [math.nan], seed=0)
    with pytest.raises(SimulatorError, match="thresholds must be 1, .* got 2"):
        replay(three, over("free"), [0.5, 0.5], seed=0)
    lacking = without_answer(three.records[1], 1)
    with pytest.raises(SimulatorError, match="1 of 3 records lack"):
        replay(three._replace(records=[lacking, *three.records[::2]]), over("free"), [0.5], seed=0)


def test_a_link_needs_a_profile_and_a_replay_two_tiers(
    three: Trace, make_cascade: Callable[..., Trace]
) -> None:
    with pytest.raises(ProfileError, match="link to tier 'cloud' has no profile; give cloud=PROFI"):
        replay(three, Network(None, (("gateway", get_profile("lan")),)), [0.5], seed=0)
    alone = make_cascade([3], 2, linked=[False])
    with pytest.raises(SimulatorError, match="at least 2 tiers; the trace has 1: tier0"):
        replay(alone, over("free"), [], seed=0)


def test_each_link_has_its_own_profile_and_its_own_luck(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1, 1], 40, linked=[False, True, True])
    both = replay(trace, over("leo"), [-1, -1], seed=3)
    near = Network(get_profile("leo"), (("tier1", get_profile("free")),))
    mixed = replay(trace, near, [-1, -1], seed=3)
    # The link to the last tier is the same in both: what is saved is the other.
    np.testing.assert_array_equal(mixed.course.seconds[2], both.course.seconds[2])
    recorded = [record.tiers[1].seconds for record in trace.records]
    np.testing.assert_allclose(mixed.course.seconds[1][0], recorded)
    first, second = (seconds[0] for seconds in both.course.seconds[1:])
    delays = [
        seconds - [record.tiers[k].link.round_trip_s for record in trace.records]
        for k, seconds in ((1, first), (2, second))
    ]
    assert np.corrcoef(*delays)[0, 1] < 0.5


def behind_a_gateway(trace: Trace, with_answer: Callable[..., TraceRecord]) -> Trace:
    """The last tier is a gateway, which kept the first query and sent the others on."""
    gate, far = (
        Hop(tier="near", place="gateway", model="m"),
        Hop(tier="far", place="cloud", model="l"),
    )
    hops = [[gate, gate], *([[gate, gate, far]] * (len(trace.records) - 1))]
    records = zip(trace.records, hops, strict=True)
    return Trace(trace.header, [with_answer(record, 1, hops=passed) for record, passed in records])


def test_links_behind_a_gateway_are_crossed_too(
    three: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    trace = behind_a_gateway(three, with_answer)
    ten = get_profile("coe-10ms")
    run = replay(trace, Network(get_profile("coe-100ms"), (("far", ten),)), [-1.0], seed=0)
    np.testing.assert_allclose(run.course.last_only_s, [0.125, 0.136, 0.137])
    with pytest.raises(ProfileError, match="link to tier 'far' has no profile; give far=PROFILE"):
        replay(trace, Network(None, (("cloud", ten),)), [-1.0], seed=0)


def test_a_link_behind_a_gateway_has_luck_of_its_own(
    make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = behind_a_gateway(make_trace([0.9] * 60, [True] * 60, [True] * 60), with_answer)
    both = replay(trace, over("leo"), [-1.0], seed=3).course.last_only_s
    near = Network(get_profile("leo"), (("far", get_profile("free")),))
    one = replay(trace, near, [-1.0], seed=3).course.last_only_s
    assert both[0] == one[0]
    assert (both[1:] > one[1:]).all()
    own = one - [record.tiers[1].link.round_trip_s for record in trace.records]
    assert abs(np.corrcoef((both - one)[1:], own[1:])[0, 1]) < 0.5


def test_the_last_tier_alone_gets_no_draft(
    make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True])
    drafts = [
        with_answer(record, 1, link=msgspec.structs.replace(record.tiers[1].link, draft_bytes=50))
        for record in trace.records
    ]
    slow = over("edge")  # enough for 50 bytes to take time
    plain = replay(trace, slow, [-1.0], seed=1)
    drafted = replay(Trace(trace.header, drafts), slow, [-1.0], seed=1)
    assert drafted.bytes_up.tolist() == plain.bytes_up.tolist()
    assert drafted.last_only_bytes_up == plain.last_only_bytes_up - 2 * 50
    assert (drafted.cascade_s == plain.cascade_s).all()
    assert (drafted.course.last_only_s < plain.course.last_only_s).all()


def test_queries_meet_a_cycle_at_any_moment_and_meet_it_again(realistic_trace: Trace) -> None:
    away = Profile(
        name="away", rtt_ms=10, outages=(Cycle(every_s=1000, lasts_s=300),), source="test"
    )
    runs = [replay(realistic_trace, Network(away), [0.35], seed=7) for _ in range(2)]
    plain = replay(realistic_trace, over("coe-10ms"), [0.35], seed=7).course.last_only_s
    waited_s = runs[0].course.last_only_s - plain
    np.testing.assert_array_equal(*(run.course.last_only_s for run in runs))
    assert waited_s.min() >= -1e-12
    assert waited_s.max() < 300
    # Of 1000 queries that begin at any moment 300 wait, give or take three standard errors of 14.
    assert (waited_s > 1e-6).mean() == pytest.approx(0.3, abs=0.045)
    assert waited_s[waited_s > 1e-6].mean() == pytest.approx(150, abs=15)
