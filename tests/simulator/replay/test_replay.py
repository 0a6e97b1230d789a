"""Virtual-time replay against numbers worked out by hand, and whole simulations."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from escalade.edge.trace.trace import Trace, write_trace
from escalade.simulator.curves.answers import large_answers
from escalade.simulator.errors import ProfileError, SimulatorError
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.replay.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP, latency_of, replay
from escalade.simulator.replay.simulation import run_study, simulate


@pytest.fixture
def three(make_trace: Callable[..., Trace]) -> Trace:
    """Generate 10, 11, 12 ms; round trips 25, 26, 27 ms; the first and the last defer."""
    return make_trace([0.9, 0.1, 0.5], [False, True, False], [True, True, False])


def test_coe_100ms_by_hand(three: Trace) -> None:
    run = replay(three, get_profile("coe-100ms"), 0.5, seed=0)
    assert run.deferred.tolist() == [True, False, True]
    np.testing.assert_allclose(run.cloud_only_s, [0.125, 0.126, 0.127])
    np.testing.assert_allclose(run.cascade_s, [0.010 + 0.125, 0.011, 0.012 + 0.127])
    latency = latency_of(run.cloud_only_s)
    assert latency.p50_s == pytest.approx(0.126)
    assert latency.p95_s == pytest.approx(0.126 + 0.9 * 0.001)
    assert latency.mean_s == pytest.approx(0.126)


def test_bytes_and_calls_by_hand(three: Trace) -> None:
    run = replay(three, get_profile("free"), 0.5, seed=0)
    assert (run.queries, run.calls) == (3, 2)
    assert run.bytes_up == 200 + 202 + 2 * GRPC_BYTES_UP
    assert run.bytes_down == 120 + 122 + 2 * GRPC_BYTES_DOWN
    assert run.cloud_only_bytes_up == 200 + 201 + 202 + 3 * GRPC_BYTES_UP
    assert run.cloud_only_bytes_down == 120 + 121 + 122 + 3 * GRPC_BYTES_DOWN
    assert run.calls_saved == pytest.approx(1 / 3)
    saved = 201 + GRPC_BYTES_UP + 121 + GRPC_BYTES_DOWN
    assert run.bytes_saved == pytest.approx(
        saved / (run.cloud_only_bytes_up + run.cloud_only_bytes_down)
    )


def test_bandwidth_counts_the_bytes_of_each_direction(three: Trace) -> None:
    profile = Profile(name="slow", rtt_ms=0, down_mbps=0.008, up_mbps=0.004, source="test")
    run = replay(three, profile, 0.5, seed=0)
    # 1000 B/s down, 500 B/s up.
    up_s, down_s = (200 + GRPC_BYTES_UP) / 500, (120 + GRPC_BYTES_DOWN) / 1000
    assert run.cloud_only_s[0] == pytest.approx(up_s + 0.025 + down_s)


def test_free_network_gives_the_recorded_times(realistic_trace: Trace) -> None:
    run = replay(realistic_trace, get_profile("free"), 0.35, seed=0)
    trips = np.array([answer.round_trip_s for answer in large_answers(realistic_trace)])
    generate = np.array([record.small.generate_s for record in realistic_trace.records])
    np.testing.assert_allclose(run.cloud_only_s, trips)
    np.testing.assert_allclose(run.cascade_s, generate + run.deferred * trips)


def test_server_time_beyond_the_round_trip_is_not_shortened(three: Trace) -> None:
    large = msgspec.structs.replace(large_answers(three)[0], round_trip_s=0.01, server_s=0.02)
    records = [msgspec.structs.replace(three.records[0], large=large), *three.records[1:]]
    run = replay(three._replace(records=records), get_profile("free"), 0.5, seed=0)
    assert run.cloud_only_s[0] == pytest.approx(0.02)


def test_infinite_threshold_never_calls_and_lowest_always_does(three: Trace) -> None:
    none = replay(three, get_profile("lte"), math.inf, seed=0)
    assert (none.calls, none.calls_saved, none.bytes_saved) == (0, 1.0, 1.0)
    np.testing.assert_allclose(none.cascade_s, [0.010, 0.011, 0.012])
    every = replay(three, get_profile("lte"), -math.inf, seed=0)
    assert (every.calls, every.calls_saved, every.bytes_saved) == (3, 0.0, 0.0)


def test_same_seed_same_times_other_seed_other_times(realistic_trace: Trace) -> None:
    leo = get_profile("leo")
    first = replay(realistic_trace, leo, 0.35, seed=7)
    again = replay(realistic_trace, leo, 0.35, seed=7)
    other = replay(realistic_trace, leo, 0.35, seed=8)
    np.testing.assert_array_equal(first.cascade_s, again.cascade_s)
    np.testing.assert_array_equal(first.cloud_only_s, again.cloud_only_s)
    assert (first.cloud_only_s != other.cloud_only_s).mean() > 0.99


def test_a_querys_network_depends_on_no_other_query_and_no_threshold(
    realistic_trace: Trace,
) -> None:
    leo = get_profile("leo")
    whole = replay(realistic_trace, leo, 0.35, seed=7)
    part = realistic_trace._replace(records=realistic_trace.records[:10])
    np.testing.assert_array_equal(
        replay(part, leo, 0.1, seed=7).cloud_only_s, whole.cloud_only_s[:10]
    )


def test_jittered_network_has_the_profiles_median(realistic_trace: Trace) -> None:
    leo = get_profile("leo")
    run = replay(realistic_trace, leo, 0.35, seed=7)
    free = replay(realistic_trace, get_profile("free"), 0.35, seed=7)
    # Bandwidth adds 0.2 ms; 1000 draws put the median of an IQR of 20 ms within 1.5 ms.
    network_s = run.cloud_only_s - free.cloud_only_s
    assert float(np.median(network_s)) == pytest.approx(leo.rtt_ms / 1e3, abs=0.002)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_named(three: Trace, seed: int) -> None:
    with pytest.raises(SimulatorError, match=rf"seed must be in \[0, {2**64 - 1}\]; got {seed}"):
        replay(three, get_profile("free"), 0.5, seed=seed)


def test_replay_refuses_nan_and_missing_answers(three: Trace) -> None:
    with pytest.raises(SimulatorError, match="threshold must be a number; got nan"):
        replay(three, get_profile("free"), math.nan, seed=0)
    lacking = msgspec.structs.replace(three.records[1], large=None)
    with pytest.raises(SimulatorError, match="1 of 3 records lack"):
        replay(
            three._replace(records=[lacking, *three.records[::2]]),
            get_profile("free"),
            0.5,
            seed=0,
        )


def test_study_covers_every_trace_threshold_and_profile(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    seen = []
    study = run_study(
        {"xent": realistic_trace, "cat": better_trace},
        [get_profile("free"), get_profile("lte"), get_profile("free")],
        [0.2, 0.4, 0.2],
        seed=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k, 8) for k in range(1, 9)]
    rows = [(row.trace, row.threshold, row.profile) for row in study.summary.profiles]
    assert rows == list(itertools.product(("xent", "cat"), (0.2, 0.4), ("free", "lte")))
    assert len(study.summary.tasks) == 2 * 2 * 4
    (comparison,) = study.summary.comparisons
    assert (comparison.trace, comparison.baseline) == ("cat", "xent")
    assert comparison.flops_per_token == study.points["xent"][0].flops_per_token
    assert comparison.quality.difference > 0
    needs = comparison.flops_per_token_at_equal_quality
    assert needs is not None
    assert needs < comparison.flops_per_token


def test_traces_over_other_queries_are_noted_not_compared(
    three: Trace, realistic_trace: Trace
) -> None:
    study = run_study({"a": realistic_trace, "b": three}, [get_profile("free")], [], seed=1)
    assert study.summary.comparisons == []
    (note,) = study.summary.notes
    assert note.startswith("b was not compared with a: ")


def test_simulate_reads_traces_and_gives_json(tmp_path: Path, realistic_trace: Trace) -> None:
    path = tmp_path / "xent.jsonl"
    write_trace(path, realistic_trace.header, realistic_trace.records)
    summary = simulate([path], ["free", "coe-1s"], [], seed=5).summary
    plain = json.loads(msgspec.json.encode(summary))
    assert plain["seed"] == 5
    assert plain["traces"][0]["name"] == "xent"
    assert plain["points"][0]["point"]["threshold"] == 0.35  # the trace's own
    free, slow = plain["profiles"]
    assert slow["cloud_only"]["p50_s"] == pytest.approx(free["cloud_only"]["p50_s"] + 1)
    assert simulate([path], ["free", "coe-1s"], [], seed=5).summary == summary


def test_simulate_tells_traces_of_one_name_apart(tmp_path: Path, three: Trace) -> None:
    paths = [tmp_path / folder / "trace.jsonl" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        write_trace(path, three.header, three.records)
    summary = simulate(paths, ["free"], [], seed=0).summary
    assert [row.name for row in summary.traces] == [str(path) for path in paths]


def test_simulate_refuses_bad_arguments(tmp_path: Path, three: Trace) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, three.header, three.records)
    with pytest.raises(ProfileError, match="'lan2'"):
        simulate([path], ["lan2"], [], seed=0)
    with pytest.raises(SimulatorError, match="finite number; got inf"):
        simulate([path], ["free"], [math.inf], seed=0)
    with pytest.raises(SimulatorError, match="at least 1 trace and 1 profile"):
        simulate([path], [], [], seed=0)
    lacking = [msgspec.structs.replace(three.records[0], large=None)]
    write_trace(path, three.header, lacking)
    with pytest.raises(SimulatorError, match=r"^trace: 1 of 1 records lack"):
        simulate([path], ["free"], [], seed=0)


def test_the_cloud_alone_gets_no_draft(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True])
    drafts = [
        msgspec.structs.replace(record, large=msgspec.structs.replace(record.large, draft_bytes=50))
        for record in trace.records
        if record.large is not None
    ]
    profile = get_profile("edge")  # slow enough for 50 bytes to take time
    plain = replay(trace, profile, -1.0, seed=1)
    drafted = replay(Trace(trace.header, drafts), profile, -1.0, seed=1)
    assert drafted.bytes_up == plain.bytes_up
    assert drafted.cloud_only_bytes_up == plain.cloud_only_bytes_up - 2 * 50
    assert (drafted.cascade_s == plain.cascade_s).all()
    assert (drafted.cloud_only_s < plain.cloud_only_s).all()


def test_queries_without_a_cloud_answer_are_left_out_and_counted(
    make_trace: Callable[..., Trace],
) -> None:
    trace = make_trace([0.1, 0.9, 0.5], [True, False, True], [True, True, True])
    lost = msgspec.structs.replace(trace.records[1], large=None, outcome="degraded")
    records = [trace.records[0], lost, trace.records[2]]
    study = run_study({"t": Trace(trace.header, records)}, [get_profile("free")], [], seed=1)
    assert study.summary.traces[0].queries == 2
    assert study.summary.notes == [
        "t: 1 of 3 queries have no answer from the cloud and are left out"
    ]
