"""Whole fleets from their specs: what their tables say is what was told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from told_fleets import fleet, run

from escalade.edge.trace import Trace, TraceRecord, write_trace
from escalade.simulator.errors import FleetError, SimulatorError
from escalade.simulator.fleet import lines_of, plan_capacity, tables_of
from escalade.simulator.network import Network, get_profile
from escalade.simulator.replay import replay


def test_a_trace_of_which_not_all_is_read_is_said(
    tmp_path: Path, make_trace: Callable[..., Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escalade.simulator.fleet.demand.queries.MOST_QUERIES", 5)
    trace = make_trace([0.1, 0.2, 0.6, 0.9] * 2, [True] * 8, [True] * 8)
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    text = fleet(cloud="replicas = 200")
    report = run(tmp_path, text[: text.index("answers")] + 'trace = "t.jsonl"\n')
    assert report.notes == ["phones: t.jsonl: 5 of 8 queries, drawn with seed 1"]
    assert lines_of(report)[-1] == report.notes[0]
    assert run(tmp_path, fleet()).notes == []


def test_a_trace_is_drawn_from_as_it_was_recorded(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    scores = [0.1, 0.2, 0.6, 0.9] * 5
    trace = make_trace(scores, [True] * 20, [True] * 20)
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    text = fleet(count=2000, cloud="replicas = 200", seconds=600)
    start = text.index("answers")
    text = text[:start] + 'trace = "t.jsonl"\n'
    report = run(tmp_path, text)
    alone = replay(trace, Network(get_profile("coe-100ms")), [0.5], seed=1)
    row = report.together
    assert row.queries == pytest.approx(600 * 200, rel=0.02)
    assert row.deferred / row.queries == pytest.approx(0.5, abs=0.01)
    # Nobody waits long: a device is busy 0.1 % of its time.
    assert row.latency is not None
    assert row.latency.mean == pytest.approx(alone.cascade_s.mean(), rel=0.01)
    assert row.latency.p99 == pytest.approx(max(alone.cascade_s), rel=0.01)


def test_a_link_to_a_tier_that_is_not_the_last_is_refused(
    tmp_path: Path, make_cascade: Callable[..., Trace]
) -> None:
    trace = make_cascade([1, 1, 1], 10, linked=[False, True, True])
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    text = fleet()
    with pytest.raises(FleetError, match="to no other; of tier 'tier1' some answers came over one"):
        run(tmp_path, text[: text.index("answers")] + 'trace = "t.jsonl"\n')


def test_a_trace_that_lacks_answers_is_named(
    tmp_path: Path, make_trace: Callable[..., Trace], without_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9], [True, True], [True, True])
    write_trace(tmp_path / "t.jsonl", trace.header, [without_answer(trace.records[0], 1)])
    text = fleet()
    with pytest.raises(SimulatorError, match=r"t.jsonl: no query has an answer from tier 'cloud'"):
        run(tmp_path, text[: text.index("answers")] + 'trace = "t.jsonl"\n')
    # As in a replay, of which a fleet's queries are: the others serve it, and that is said.
    some = [without_answer(trace.records[0], 1), trace.records[1]]
    write_trace(tmp_path / "t.jsonl", trace.header, some)
    report = run(tmp_path, text[: text.index("answers")] + 'trace = "t.jsonl"\n')
    note = "phones: t.jsonl: 1 of 2 queries have no answer from tier 'cloud' and are left out"
    assert report.notes == [note]
    # That one is sent on (0.9, at a threshold of 0.5).
    assert report.together.deferred == report.together.queries > 0


def test_hours_of_a_day_come_as_they_are_weighed(tmp_path: Path) -> None:
    hours = [0] * 8 + [2] * 8 + [1] * 8
    arrivals = f'kind = "daily", per_hour = 20, hours = {hours}'
    report = run(tmp_path, fleet(arrivals, seconds=2 * 86400, count=100, cloud="replicas = 50"))
    for row in report.timeline:  # two hours each
        wanted = 100 * 20 / 3600 * hours[int(row.from_s // 3600) % 24]
        assert row.queries_per_s == pytest.approx(wanted, rel=0.1)


def test_bursts_keep_the_mean_and_come_to_all_at_once(tmp_path: Path) -> None:
    arrivals = 'kind = "bursts", per_hour = 36, times = 20, quiet_s = 500, burst_s = 500'
    report = run(tmp_path, fleet(arrivals, seconds=200_000, cloud="replicas = 20"))
    rates = [row.queries_per_s for row in report.timeline]
    assert sum(rates) / len(rates) == pytest.approx(200 * 0.01, rel=0.2)
    short = run(tmp_path, fleet(arrivals, seconds=2000, cloud="replicas = 20"))
    of_windows = [row.queries_per_s for row in short.timeline]
    assert max(of_windows) > 8 * min(of_windows)


def test_recorded_times_come_again(tmp_path: Path) -> None:
    (tmp_path / "times").write_text("0\n1\n1.5\n")
    arrivals = 'kind = "recorded", file = "times", period_s = 10.0'
    report = run(tmp_path, fleet(arrivals, count=50))
    assert report.together.queries == 50 * 3 * 40


def test_who_has_no_answer_of_its_own_drops_what_the_cloud_refuses(tmp_path: Path) -> None:
    answers = "device_s = 0, cloud_s = 1.0, deferral_rate = 1, fallback = {}"
    cloud = "replicas = 4\nqueue = 4"
    for fallback in ("true", "false"):
        text = fleet(answers=answers.format(fallback), cloud=cloud)
        row = run(tmp_path, text + "[retries]\ndeadline_s = 0\n").together
        lost = row.dropped if fallback == "false" else row.degraded
        assert lost + row.deferred == row.queries
        assert lost / row.queries == pytest.approx(1 - 4 / 20, abs=0.02)
        assert row.latency is not None
        assert row.latency.count == (row.deferred if fallback == "false" else row.queries)


def test_who_is_refused_hears_of_it_a_round_trip_later(tmp_path: Path) -> None:
    """One query holds the cloud for good; each attempt of all others takes its 100 ms.

    Between two of them lies what the cloud says before it has answered any, 100 ms: more than the
    random waits, of milliseconds.
    """
    answers = 'device_s = 0.01, cloud_s = 1e6, deferral_rate = 1.0, spread = "constant"'
    for deadline_s, tries in ((0.0, 1), (0.25, 2), (0.45, 3)):
        told = f"[retries]\nfirst_s = 0.002\ndeadline_s = {deadline_s}\n"
        report = run(tmp_path, fleet(answers=answers, cloud=f"replicas = 1\nqueue = 0\n{told}"))
        row, cloud = report.together, report.cloud
        assert row.latency is not None
        assert row.degraded == row.latency.count - row.deferred > 1000
        assert cloud.refused == cloud.attempts - 1
        assert cloud.attempts == pytest.approx(tries * row.degraded, rel=1e-3)
        assert row.latency.p50 == pytest.approx(0.01 + 0.1 * tries + 0.1 * (tries - 1), rel=0.01)


def test_who_the_cloud_refuses_comes_back_when_it_says(tmp_path: Path) -> None:
    """After its last answer's seconds by its slots: 0.8 s by 4, where random waits are short."""
    answers = 'device_s = 0.01, cloud_s = 0.8, deferral_rate = 1.0, spread = "constant"'
    told = "[retries]\nfirst_s = 0.001\nmost_s = 0.001\ndeadline_s = 0.25\n"
    cloud = f"replicas = 2\nslots = 2\nqueue = 0\n{told}"
    report = run(tmp_path, fleet(answers=answers, cloud=cloud))
    row = report.together
    assert row.degraded > 1000
    # 0.1 s until it hears, and 0.2 more would be too late: almost all call once.
    assert report.cloud.attempts == pytest.approx(row.queries, rel=0.01)


def test_an_outage_makes_no_storm(tmp_path: Path) -> None:
    """What waited comes back within a second or two, nobody is refused for long, and it is over."""
    outage = '[[outages]]\nfrom_s = 100\nto_s = 200\ngroup = "phones"\n'
    cloud = "replicas = 2\nslots = 8\nslowdown = 0.1\nqueue = 64"
    report = run(tmp_path, fleet(seconds=480, count=200, cloud=cloud, more=outage))
    rows = {row.from_s: row for row in report.timeline}
    before, during, after, later = (rows[float(at)] for at in (80, 140, 200, 240))
    assert during.attempts_per_s == 0
    assert during.degraded_per_s == pytest.approx(before.attempts_per_s, rel=0.3)
    # Ten seconds' queries, those that have not given up, and the usual.
    assert after.attempts_per_s < 2 * before.attempts_per_s
    assert later.attempts_per_s == pytest.approx(before.attempts_per_s, rel=0.2)
    assert later.refused_per_s == later.degraded_per_s == 0
    row = report.together
    assert row.answered + row.deferred + row.degraded == row.queries


def test_what_comes_after_the_end_is_in_no_stretch(tmp_path: Path) -> None:
    """Calls made again for ten seconds more, of a second each: the last stretch is as others."""
    answers = 'device_s = 0.01, cloud_s = 1, deferral_rate = 1.0, spread = "constant"'
    cloud = "replicas = 1\nslots = 1\nqueue = 1"
    report = run(tmp_path, fleet(answers=answers, cloud=cloud, seconds=48, count=500))
    before, last = report.timeline[-2:]
    assert last.attempts_per_s == pytest.approx(before.attempts_per_s, rel=0.1)
    assert last.refused_per_s == pytest.approx(before.refused_per_s, rel=0.1)
    assert last.degraded_per_s == pytest.approx(before.degraded_per_s, rel=0.3)
    # What the run says as a whole has them.
    told = sum(2 * row.attempts_per_s for row in report.timeline)
    assert report.cloud.attempts > told + 4 * last.attempts_per_s
    row = report.together
    assert row.degraded > sum(2 * one.degraded_per_s for one in report.timeline)
    assert row.answered + row.deferred + row.degraded == row.queries


def test_scaling_follows_the_day(tmp_path: Path) -> None:
    hours = [1] * 8 + [9] * 8 + [1] * 8
    arrivals = f'kind = "daily", per_hour = 36, hours = {hours}'
    cloud = "replicas = 2\nqueue = 1000\nprice_per_hour = 2\n"
    cloud += "scaling = { least = 1, most = 40, target = 0.7 }"
    answers = "device_s = 0.01, cloud_s = 2, deferral_rate = 0.25"
    report = run(tmp_path, fleet(arrivals, answers, seconds=86400, count=500, cloud=cloud))
    night, noon = report.timeline[4], report.timeline[12]
    assert noon.replicas > 3 * night.replicas
    assert 0.3 < noon.utilisation < 0.85
    assert report.cloud.refused == 0
    assert report.cloud.cost == pytest.approx(2 * report.cloud.replica_hours)
    hours_paid = sum(row.replicas for row in report.timeline)
    assert report.cloud.replica_hours == pytest.approx(hours_paid)


def test_who_dials_takes_the_round_trips_that_replay_has(tmp_path: Path) -> None:
    """Over 100 ms: 4 round trips of a first call over TLS, 3 in the clear, 1 of any other."""
    told = {
        "arrivals": 'kind = "poisson", per_hour = 36',
        "answers": 'device_s = 0, cloud_s = 0.05, deferral_rate = 1, spread = "constant"',
        "cloud": "replicas = 200",
        "seconds": 5000,
    }

    def share(dialling: str, trips: int) -> float:
        row = run(tmp_path, fleet(**told, more=dialling)).together  # type: ignore[arg-type]
        assert row.latency is not None
        assert row.latency.p50 == pytest.approx(0.15, rel=0.01)  # most do not dial
        return (row.latency.mean - 0.15) / (0.1 * (trips - 1))

    assert share("", 2) == pytest.approx(0.0, abs=1e-9)
    # Queries of 100 s between: of the first 50, one; and those that come after more than idle_s.
    once = share("dialling = { idle_s = 1e6 }", 4)
    assert once == pytest.approx(1 / 50, rel=0.02)
    again = share("dialling = { idle_s = 100, tls = false }", 3)
    assert again == pytest.approx(once + (1 - once) * math.exp(-1), rel=0.03)
    notes = run(tmp_path, fleet(**told, more="dialling = {}")).notes  # type: ignore[arg-type]
    assert notes == ["phones: a device dials for its first call, and for one after 1800 s without"]


def test_what_a_call_takes_beside_is_in_every_one_of_them(tmp_path: Path) -> None:
    answers = 'device_s = 0.01, cloud_s = 0.2, deferral_rate = 0.25, spread = "constant"'
    p50 = []
    for more in ("", "\nbeside_s = 0.03"):
        report = run(tmp_path, fleet(answers=answers, cloud="replicas = 400" + more))
        (row,) = report.groups
        assert row.latency is not None
        assert row.latency_deferred is not None
        p50.append((row.latency.p50, row.latency_deferred.p50))
    assert p50[1][0] == p50[0][0]  # most stay on their devices
    assert p50[1][1] - p50[0][1] == pytest.approx(0.03, rel=0.1)


def test_who_calls_so_often_that_losses_hold_up_others_is_told(tmp_path: Path) -> None:
    """Ten calls a second, of which 0.4 % stall for 240 ms; one a second is no matter."""
    answers = "device_s = 0, cloud_s = 0.01, deferral_rate = 1"
    for per_hour, notes in (
        (
            36_000,
            [
                "phones: a device makes 10 calls a second: over one connection another's lost"
                " packet holds up 0.96% of them, which is left out"
            ],
        ),
        (3600, []),
    ):
        arrivals = f'kind = "poisson", per_hour = {per_hour}'
        text = fleet(arrivals, answers, seconds=10, count=2)
        assert run(tmp_path, text.replace("coe-100ms", "wifi-good")).notes == notes
        assert run(tmp_path, text).notes == []  # nothing is lost there


def test_priorities_let_some_wait_less(tmp_path: Path) -> None:
    text = fleet(cloud="replicas = 6", count=480)
    other = text[text.index("[[groups]]") :].replace("phones", "urgent")
    urgent, slow = 'name = "urgent"\npriority = 0', 'name = "phones"\npriority = 1'
    text = text.replace('name = "phones"', slow) + other.replace('name = "urgent"', urgent)
    rows = run(tmp_path, text.replace("cloud_s = 0.2", "cloud_s = 0.22")).groups
    assert rows[0].latency_deferred is not None
    assert rows[1].latency_deferred is not None
    assert rows[1].latency_deferred.p99 < rows[0].latency_deferred.p99


def test_one_seed_gives_one_report_and_another_another(tmp_path: Path) -> None:
    one, same, other = (msgspec.json.encode(run(tmp_path, fleet(), seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_tables_and_lines_are_of_the_report(tmp_path: Path) -> None:
    report = run(tmp_path, fleet(cloud="replicas = 8\nprice_per_hour = 3"))
    lines = " ".join(lines_of(report))
    assert "200 devices" in lines
    assert "for a million queries" in lines
    who, took, when = tables_of(report)
    assert [cell.text for cell in who.rows[0]][:2] == ["phones", "200"]
    assert len(took.rows) == 2
    assert len(when.rows) == len(report.timeline) == 24


def test_the_replicas_for_a_p99_are_those_of_erlang(tmp_path: Path) -> None:
    """M/M/c: P(sojourn > t), for exponential times of mean 1 and constant delays."""
    path = tmp_path / "fleet.toml"
    answers = "device_s = 0, cloud_s = 0.5, deferral_rate = 1, bytes_up = 0, bytes_down = 0"
    path.write_text(fleet(answers=answers, cloud="replicas = 1\nprice_per_hour = 2", seconds=2000))
    capacity = plan_capacity(path, 0.1 + 2.6, seed=1)
    expected = next(c for c in range(12, 99) if slower(c, 10.0, 2.6 / 0.5) <= 0.01)
    assert capacity.least <= expected <= capacity.most
    assert capacity.most - capacity.least <= 2
    assert sorted(capacity.replicas)[3] == capacity.median
    assert capacity.price_per_hour == 2 * capacity.most
    with pytest.raises(FleetError, match="no number of replicas answers 99 of 100"):
        plan_capacity(path, 0.1, seed=1)
    path.write_text(fleet('kind = "poisson", per_hour = 1e-9'))
    with pytest.raises(FleetError, match="no query came in a run"):
        plan_capacity(path, 1.0, seed=1)


def test_where_queries_are_lost_no_number_of_replicas_is_said_to_take_a_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        fleet(more="[[outages]]\nfrom_s = 100\nto_s = 200\n", cloud="replicas = 1\nqueue = 10")
    )
    said = "within 5 s; more than 1 of 100 are degraded or dropped, however many there are$"
    with pytest.raises(FleetError, match=said):
        plan_capacity(path, 5.0, seed=1)


def slower(servers: int, load: float, times: float) -> float:
    """The share of M/M/c, of more than load + 1 servers, that takes longer than so many means."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    waits = blocked / (1 - load / servers * (1 - blocked))
    spare = servers - load
    # A wait is exponential of rate `spare`, of those who wait; a service of rate 1.
    both = (spare * math.exp(-times) - math.exp(-spare * times)) / (spare - 1)
    return (1 - waits) * math.exp(-times) + waits * both
