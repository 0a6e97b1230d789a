"""The page of a simulation: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge.trace import Trace, write_trace
from escalade.simulator.formats import percent, seconds
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.replay.simulation import Simulation, run_simulation, simulate
from escalade.simulator.report.simulation import write_simulation_page

ReadPage = Callable[[str], Any]


@pytest.fixture(scope="module")
def found(realistic_trace: Trace, better_trace: Trace) -> Simulation:
    networks = [Network(get_profile(name)) for name in ("coe-1us", "coe-1s", "lte")]
    return run_simulation({"xent": realistic_trace, "cat-xent": better_trace}, networks, [], seed=7)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, found: Simulation) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_simulation_page(path, found)
    return path.read_text("utf-8")


def test_page_is_well_formed_and_refers_to_nothing_outside(
    source: str, read_page: ReadPage
) -> None:
    assert source.startswith("<!DOCTYPE html>")
    page = read_page(source)
    assert page.open == []
    assert page.references == []
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_plotly_is_inlined_once_and_every_figure_is_drawn(source: str, read_page: ReadPage) -> None:
    page = read_page(source)
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    assert page.ids == ["shares", "latency-0", "latency-1", "latency-2"]
    for name in page.ids:
        assert sum(f'"{name}",' in script for script in page.scripts) == 1


def test_page_carries_the_numbers(source: str, found: Simulation, read_page: ReadPage) -> None:
    text = read_page(source).text
    for row in found.summary.points:
        assert row.accuracy is not None
        assert row.bytes_saved is not None
        assert f"{percent(row.accuracy)} of the answers are right" in text
        assert f"{percent(row.calls_saved)} of the calls to cloud" in text
        assert f"and {percent(row.bytes_saved)} of the bytes saved" in text
        device, cloud = (percent(tier.answered) for tier in row.tiers)
        assert f"device answers {device} of the queries, cloud {cloud};" in text
    for network in found.summary.networks:
        for latency in (network.cascade, network.last_only):
            assert seconds(latency.p50_s) in text
            assert seconds(latency.p95_s) in text
    for said in ("1,000 queries", "900 k", "6.20 M", "mean", "0.35", "Seed of this replay: 7"):
        assert said in text
    assert "RTT 1 µs" in text
    assert "RTT 1 s" in text


def test_axes_have_titles_with_units(source: str, read_page: ReadPage) -> None:
    scripts = " ".join(read_page(source).scripts[-4:])
    titles = set(re.findall(r'"title":\{"font":\{"size":13\},"text":"([^"]+)"', scripts))
    assert titles == {"Share of the queries", "Latency (log scale)", "Queries answered"}


def test_text_from_outside_is_escaped_everywhere(
    tmp_path: Path, make_trace: Callable[..., Trace], read_page: ReadPage
) -> None:
    evil = "<script>alert(1)</script>"
    trace = make_trace([0.9, 0.1], [False, True], [True, True], names=(evil, f"{evil}&"))
    tiers = [
        msgspec.structs.replace(tier, name=f"{evil}{k}", rule=evil)
        for k, tier in enumerate(trace.header.tiers)
    ]
    header = msgspec.structs.replace(trace.header, tiers=tiers, created=evil, currency=evil)
    profile = Profile(name=evil, rtt_ms=1, down_mbps=None, up_mbps=None, source=evil)
    path = tmp_path / "report.html"
    traces = {evil: trace._replace(header=header), f"{evil}2": trace._replace(header=header)}
    write_simulation_page(path, run_simulation(traces, [Network(profile)], [], seed=0))
    source = path.read_text("utf-8")
    page = read_page(source)
    assert page.open == []
    assert "<script>alert" not in source
    # Read as text it is all there: names, tiers, rule, date, network and its source.
    assert page.text.count(evil) >= 8
    assert not any(script.startswith("alert(1)") for script in page.scripts)
    # In a figure plotly reads pseudo-HTML, so there the name is escaped once more.
    assert r"\u003cscript\u003ealert(1)" not in source
    assert "&lt;script&gt;alert(1)" in " ".join(page.scripts).replace(r"\u0026", "&")


def test_same_simulation_same_page_and_several_thresholds(
    tmp_path: Path, realistic_trace: Trace, read_page: ReadPage
) -> None:
    trace_path = tmp_path / "trace.jsonl"
    write_trace(trace_path, realistic_trace.header, realistic_trace.records)
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        write_simulation_page(page, simulate([trace_path], ["leo"], [[0.2], [0.5]], seed=3))
    assert pages[0].read_bytes() == pages[1].read_bytes()
    text = read_page(pages[0].read_text("utf-8")).text
    assert "trace, threshold 0.2" in text
    assert "trace, threshold 0.5" in text
    assert sorted(tmp_path.iterdir()) == [*pages, trace_path]


def test_tiers_members_and_networks_of_each_link_are_said(
    tmp_path: Path, make_cascade: Callable[..., Trace], read_page: ReadPage
) -> None:
    trace = make_cascade([3, 1, 1], 60, linked=[False, True, True])
    network = Network(get_profile("lte"), (("tier1", get_profile("lan")),))
    found = run_simulation({"t": trace}, [network], [], seed=0)
    path = tmp_path / "page.html"
    write_simulation_page(path, found)
    text = read_page(path.read_text("utf-8")).text
    (point,) = found.summary.points
    assert f"asking {point.tiers[0].members:.2f} of 3" in text
    assert "model0.0, model0.1, model0.2" in text
    assert "lte, tier1=lan, RTT 70 ms, 350 µs" in text
    assert "USD a million queries" in text
    for tier in trace.header.tiers:
        assert f"{tier.name} answers" in text


def test_notes_are_said(
    tmp_path: Path, realistic_trace: Trace, without_answer: Callable[..., Any], read_page: ReadPage
) -> None:
    records = [without_answer(realistic_trace.records[0], 1), *realistic_trace.records[1:]]
    trace = realistic_trace._replace(records=records)
    found = run_simulation({"t": trace}, [Network(get_profile("free"))], [], seed=0)
    path = tmp_path / "page.html"
    write_simulation_page(path, found)
    assert f"Note: {found.summary.notes[0]}" in read_page(path.read_text("utf-8")).text
