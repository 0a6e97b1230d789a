"""Fleets whose devices have a gateway between them and the cloud, from their specs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from told_fleets import fleet, run

from escalade.edge.trace import Hop, Trace, TraceRecord, write_trace
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet import lines_of, tables_of
from escalade.simulator.formats import count, percent

GATEWAYS = """
[[gateways]]
name = "shops"
count = 20
slots = 2
slowdown = 0.5
profile = "coe-10ms"
"""


def test_gateways_answer_their_share_and_send_on_the_rest(tmp_path: Path) -> None:
    answers = (
        "device_s = 0.01, cloud_s = 0.2, deferral_rate = 0.25, gateway_s = 0.1,"
        ' gateway_deferral_rate = 0.4, spread = "constant"'
    )
    text = fleet(answers=answers, cloud="replicas = 200", more='gateway = "shops"' + GATEWAYS)
    report = run(tmp_path, text)
    row, (shops,) = report.together, report.gateways
    assert row.at_gateway + row.deferred == pytest.approx(0.25 * row.queries, rel=0.03)
    assert row.deferred == pytest.approx(0.1 * row.queries, rel=0.04)
    assert row.answered + row.at_gateway + row.deferred == row.queries
    assert report.cloud.attempts == row.deferred
    assert shops.answered == row.at_gateway
    # 20 calls a second, 5 of them to gateways, a tenth of a second each on 40 slots.
    assert shops.utilisation == pytest.approx(5 * 0.1 / 40, rel=0.1)
    assert row.latency_at_gateway is not None
    assert row.latency_deferred is not None
    assert row.latency_at_gateway.p50 == pytest.approx(0.01 + 0.1 + 0.1, rel=0.01)
    assert row.latency_deferred.p50 == pytest.approx(0.01 + 0.1 + 0.1 + 0.01 + 0.2, rel=0.01)
    assert lines_of(report)[3] == (
        f"shops: 20 gateways, {count(shops.answered)} queries answered;"
        f" {percent(shops.utilisation)} of their slots in use"
    )
    who, took, _ = tables_of(report)
    assert who.head[3:6] == ["device", "gateway", "cloud"]
    assert [line[0].text for line in took.rows] == [
        "phones",
        "phones, gateway's",
        "phones, cloud's",
    ]


def test_when_gateways_are_cut_off_their_answers_stand(tmp_path: Path) -> None:
    answers = (
        "device_s = 0.01, cloud_s = 0.2, deferral_rate = 0.25, gateway_s = 0.1,"
        " gateway_deferral_rate = 1"
    )
    outage = '[[outages]]\nfrom_s = 0\nto_s = 1000\ngateway = "shops"\n[retries]\ndeadline_s = 0\n'
    more = 'gateway = "shops"' + GATEWAYS + outage
    report = run(tmp_path, fleet(answers=answers, more=more))
    row = report.together
    assert report.cloud.attempts == row.deferred == row.at_gateway == 0
    assert row.degraded == row.queries - row.answered > 0
    # They have been to the gateway and back.
    assert row.latency is not None
    assert row.latency.p99 > 0.21


def test_where_queries_go_that_gateways_refuse_is_told(tmp_path: Path) -> None:
    """Half again as much as gateways can do; of two groups one goes past them."""
    answers = (
        "device_s = 0.01, cloud_s = 0.2, deferral_rate = 0.25, gateway_s = 1.0,"
        " gateway_deferral_rate = 0.4"
    )
    text = fleet(answers=answers, cloud="replicas = 200", more='gateway = "shops"')
    other = text[text.index("[[groups]]") :].replace("phones", "tills")
    text += other + 'past_gateway = "coe-100ms"'
    bounded = GATEWAYS.replace("count = 20", "count = 5\nqueue = 3\ndialling = { idle_s = 60 }")
    report = run(tmp_path, text + bounded)
    (phones, tills), (shops,) = report.groups, report.gateways
    assert tills.degraded == 0
    assert shops.turned_away == phones.degraded > 0.05 * phones.queries
    assert shops.past > 0.05 * tills.queries
    assert shops.utilisation > 0.95
    found_place = (
        phones.at_gateway + phones.deferred + tills.at_gateway + tills.deferred - shops.past
    )
    assert shops.attempts - shops.refused == found_place
    assert report.cloud.attempts == phones.deferred + tills.deferred
    for row in report.groups:
        parts = row.answered + row.at_gateway + row.deferred + row.degraded + row.dropped
        assert parts == row.queries
    assert report.notes == [
        "shops: a gateway dials for its first call, and for one after 60 s without"
    ]
    assert lines_of(report)[4] == (
        f"shops: {count(shops.attempts)} attempts, {count(shops.refused)} refused;"
        f" {count(shops.past)} queries go past to the cloud, {count(shops.turned_away)} keep their"
        " devices' answers"
    )


def test_when_their_gateways_are_out_of_reach_devices_go_past_them(tmp_path: Path) -> None:
    """An outage of the group is one of the link to its gateways; one of all is of both."""
    answers = (
        'device_s = 0, cloud_s = 0.2, deferral_rate = 1, gateway_s = 0.1, spread = "constant",'
        " gateway_deferral_rate = 0.4"
    )
    more = (
        'gateway = "shops"\npast_gateway = "coe-100ms"' + GATEWAYS + "[retries]\ndeadline_s = 0\n"
    )
    text = fleet(answers=answers, cloud="replicas = 200", more=more)
    for outage in ('[[outages]]\nfrom_s = 0\nto_s = 999\ngroup = "phones"\n',
                   "[[outages]]\nfrom_s = 0\nto_s = 999\n"):  # fmt: skip
        report = run(tmp_path, text + outage)
        row, (shops,) = report.together, report.gateways
        assert (shops.attempts, shops.past) == (0, row.queries)
        if "phones" not in outage:
            assert row.degraded == row.queries
            continue
        assert row.deferred == row.queries
        assert row.latency is not None
        assert row.latency.p50 == pytest.approx(0.1 + 0.2, rel=0.01)


def test_a_trace_that_ended_at_the_gateway_leads_nobody_past_it(
    tmp_path: Path, make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.9] * 8, [True] * 8, [True] * 8)
    own = Hop(tier="gateway", place="gateway", model="m", seconds=0.05)
    records = [with_answer(record, 1, hops=[own]) for record in trace.records]
    write_trace(tmp_path / "t.jsonl", trace.header, records)
    text = fleet(cloud="replicas = 900")
    text = text[: text.index("answers")] + 'trace = "t.jsonl"\n'
    with pytest.raises(FleetError, match="cloud takes for all queries; 8 of 8 stayed at the gate"):
        run(tmp_path, text + 'gateway = "shops"\npast_gateway = "lte"' + GATEWAYS)


def test_a_trace_through_a_gateway_is_taken_apart(
    tmp_path: Path, make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    """Every second query stayed at the gateway, which took 0.05 s; the cloud took 0.2."""
    trace = make_trace([0.9] * 8, [True] * 8, [True] * 8)
    own = Hop(tier="gateway", place="gateway", model="m", seconds=0.05)
    behind = Hop(tier="cloud", place="cloud", model="l", seconds=0.2)
    records = [
        with_answer(record, 1, hops=[own, behind] if k % 2 else [own])
        for k, record in enumerate(trace.records)
    ]
    write_trace(tmp_path / "t.jsonl", trace.header, records)
    text = fleet(count=2000, cloud="replicas = 900")
    text = text[: text.index("answers")] + 'trace = "t.jsonl"\n'
    report = run(tmp_path, text + 'gateway = "shops"' + GATEWAYS.replace("= 20", "= 2000"))
    row = report.together
    assert row.answered == 0
    assert row.at_gateway / row.queries == pytest.approx(0.5, abs=0.02)
    assert row.latency_at_gateway is not None
    assert row.latency_deferred is not None
    more_s = row.latency_deferred.p50 - row.latency_at_gateway.p50
    assert more_s == pytest.approx(0.2 + 0.01, rel=0.05)
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    with pytest.raises(FleetError, match="must have come through one and at most one tier behind"):
        run(tmp_path, text + 'gateway = "shops"' + GATEWAYS)
