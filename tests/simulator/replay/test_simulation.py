"""Whole simulations: traces, thresholds and networks to tables."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from escalade.edge.trace import Trace, TraceRecord, write_trace
from escalade.simulator.errors import ProfileError, SimulatorError
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.recorded.prices import with_prices
from escalade.simulator.replay.replay import replay
from escalade.simulator.replay.simulation import run_simulation, simulate


def over(*profiles: str) -> list[Network]:
    return [Network(get_profile(profile)) for profile in profiles]


def test_a_simulation_covers_every_trace_threshold_and_network(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    seen = []
    found = run_simulation(
        {"xent": realistic_trace, "cat": better_trace},
        over("free", "lte", "free"),
        [[0.2], [0.4], [0.2]],
        seed=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k, 8) for k in range(1, 9)]
    rows = [(row.trace, *row.thresholds, row.network) for row in found.summary.networks]
    assert rows == list(itertools.product(("xent", "cat"), (0.2, 0.4), ("free", "lte")))
    points = [(row.trace, *row.thresholds) for row in found.summary.points]
    assert points == list(itertools.product(("xent", "cat"), (0.2, 0.4)))
    assert [name for name, _ in found.replays] == ["xent"] * 4 + ["cat"] * 4


def test_who_answers_what_at_which_price(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 3, 1], 200, linked=[False, False, True], thresholds=[0.5, 0.4])
    summary = run_simulation({"t": trace}, over("lte"), [], seed=0).summary
    run = replay(trace, over("lte")[0], [0.5, 0.4], seed=0)
    (point,) = summary.points
    assert point.thresholds == [0.5, 0.4]
    shares = [float((run.answered_by == k).mean()) for k in range(3)]
    assert [tier.answered for tier in point.tiers] == shares
    assert [tier.asked for tier in point.tiers] == pytest.approx([1.0, 1 - shares[0], shares[2]])
    assert point.tiers[0].members == 1.0
    assert 1.0 < point.tiers[1].members < 3.0
    assert point.calls == 200 * shares[2]
    right = [
        record.tiers[by].correct for record, by in zip(trace.records, run.answered_by, strict=True)
    ]
    assert point.accuracy == pytest.approx(sum(right) / 200)
    (row,) = summary.traces
    assert [tier.name for tier in row.tiers] == ["tier0", "tier1", "tier2"]
    assert row.tiers[1].members == ["model1.0", "model1.1", "model1.2"]
    alone = [record.tiers[2].correct for record in trace.records]
    assert row.tiers[2].accuracy == pytest.approx(sum(alone) / 200)
    members = [record.tiers[2].members[0] for record in trace.records]
    price = trace.header.tiers[2].members[0]
    money = [
        one.prompt_tokens * price.prompt_price + one.generated_tokens * price.generated_price
        for one in members
    ]
    assert point.money.last_only == pytest.approx(sum(money) / 200 / 1e6)


def test_what_a_trace_does_not_say_is_left_open(
    make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True], parameters=(0, 5))
    trace = trace._replace(
        records=[trace.records[0], with_answer(trace.records[1], 1, correct=None)]
    )
    (point,) = run_simulation({"t": trace}, over("free"), [], seed=0).summary.points
    assert (point.accuracy, point.flops, point.money) == (None, None, None)
    priced = with_prices(trace, {"large": (1e6, 1e6)})
    (point,) = run_simulation({"t": priced}, over("free"), [], seed=0).summary.points
    assert point.money.cascade < point.money.last_only


def test_tiers_on_one_device_move_no_bytes(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 2], 30, linked=[False, False])
    found = run_simulation({"t": trace}, [Network(None)], [], seed=0)
    assert found.summary.networks[0].network == "no link"
    assert found.summary.points[0].bytes_saved is None
    assert 0 < found.summary.points[0].calls_saved < 1


def test_traces_over_other_queries_are_both_replayed(three: Trace, realistic_trace: Trace) -> None:
    found = run_simulation({"a": realistic_trace, "b": three}, over("free"), [], seed=1)
    assert [row.queries for row in found.summary.traces] == [1000, 3]
    assert found.summary.notes == []


@pytest.fixture
def three(make_trace: Callable[..., Trace]) -> Trace:
    return make_trace([0.9, 0.1, 0.5], [False, True, False], [True, True, False])


def test_simulate_reads_traces_and_gives_json(tmp_path: Path, realistic_trace: Trace) -> None:
    path = tmp_path / "xent.jsonl"
    write_trace(path, realistic_trace.header, realistic_trace.records)
    summary = simulate([path], ["free", "coe-1s"], [], seed=5).summary
    plain = json.loads(msgspec.json.encode(summary))
    assert plain["seed"] == 5
    assert plain["traces"][0]["name"] == "xent"
    assert plain["points"][0]["thresholds"] == [0.35]  # the trace's own
    free, slow = plain["networks"]
    assert slow["last_only"]["p50_s"] == pytest.approx(free["last_only"]["p50_s"] + 1)
    assert simulate([path], ["free", "coe-1s"], [], seed=5).summary == summary


def test_links_are_named_by_their_tiers(tmp_path: Path, make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1, 1], 20, linked=[False, True, True])
    path = tmp_path / "t.jsonl"
    write_trace(path, trace.header, trace.records)
    found = simulate([path], ["lte", "3g", "tier1=lan"], [], seed=0)
    assert [network.name for network in found.networks] == ["lte, tier1=lan", "3g, tier1=lan"]
    both = simulate([path], ["tier1=lan", "tier2=lte"], [], seed=0)
    assert [network.name for network in both.networks] == ["tier1=lan, tier2=lte"]
    assert both.summary.networks[0].cascade == found.summary.networks[0].cascade
    # What no link is named for has the papers' delays.
    some = simulate([path], ["tier1=lan"], [], seed=0)
    assert [network.everywhere.name for network in some.networks] == [
        "coe-1us", "coe-10ms", "coe-100ms", "coe-1s",
    ]  # fmt: skip
    for arguments, says in (
        (["tier3=lan"], "one of tier1, tier2; got 'tier3'; did you mean"),
        (["tier1=lan", "tier1=lte"], "'tier1' is given twice"),
        (["tier1=lam"], "got 'lam'; did you mean 'lan'"),
    ):
        with pytest.raises(ProfileError) as error:
            simulate([path], arguments, [], seed=0)
        assert says in str(error.value)


def test_simulate_tells_traces_of_one_name_apart(tmp_path: Path, three: Trace) -> None:
    paths = [tmp_path / folder / "trace.jsonl" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        write_trace(path, three.header, three.records)
    summary = simulate(paths, ["free"], [], seed=0).summary
    assert [row.name for row in summary.traces] == [str(path) for path in paths]


def test_simulate_refuses_bad_arguments(
    tmp_path: Path, three: Trace, without_answer: Callable[..., TraceRecord]
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, three.header, three.records)
    with pytest.raises(ProfileError, match="'lan2'"):
        simulate([path], ["lan2"], [], seed=0)
    with pytest.raises(SimulatorError, match="finite number; got inf"):
        simulate([path], ["free"], [[math.inf]], seed=0)
    with pytest.raises(SimulatorError, match="trace: thresholds must be 1, .* got 2"):
        simulate([path], ["free"], [[0.1, 0.2]], seed=0)
    with pytest.raises(SimulatorError, match="at least 1 trace and 1 network"):
        run_simulation({"t": three}, [], [], seed=0)
    with pytest.raises(SimulatorError, match="at least 1 trace and 1 network"):
        run_simulation({}, over("free"), [], seed=0)
    with pytest.raises(SimulatorError, match="price of 'small' must be finite and >= 0; got -1"):
        simulate([path], ["free"], [], prices={"small": (-1.0, 0.0)}, seed=0)
    write_trace(path, three.header, [without_answer(three.records[0], 1)])
    with pytest.raises(SimulatorError, match="jsonl: no query has an answer from tier .cloud"):
        simulate([path], ["free"], [], seed=0)
    device, cloud = three.header.tiers
    bare = msgspec.structs.replace(
        three.header, tiers=[msgspec.structs.replace(device, threshold=None), cloud]
    )
    write_trace(path, bare, three.records)
    with pytest.raises(SimulatorError, match="^trace: the gate after tier 'device' was recorded"):
        simulate([path], ["free"], [], seed=0)
    assert simulate([path], ["free"], [[0.5]], seed=0).summary.points[0].calls == 2


def test_queries_without_an_answer_of_every_tier_are_left_out_and_counted(
    make_trace: Callable[..., Trace], without_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9, 0.5], [True, False, True], [True, True, True])
    records = [trace.records[0], without_answer(trace.records[1], 1), trace.records[2]]
    found = run_simulation({"t": Trace(trace.header, records)}, over("free"), [], seed=1)
    assert found.summary.traces[0].queries == 2
    assert found.summary.notes == [
        "t: 1 of 3 queries have no answer from tier 'cloud' and are left out"
    ]


def test_scores_that_are_not_finite_defer_and_break_nothing(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    scores = [math.nan, math.inf, 0.1]
    logprobs = [[math.nan, -0.1], [-math.inf], [-0.1]]
    trace = make_trace(scores, [False] * 3, [True] * 3, logprobs=logprobs)
    path = tmp_path / "broken.jsonl"
    write_trace(path, trace.header, trace.records)
    (point,) = simulate([path], ["free"], [[1e9]], seed=0).summary.points
    assert (point.calls, point.accuracy) == (2, pytest.approx(2 / 3))
    json.loads(msgspec.json.encode(point))
