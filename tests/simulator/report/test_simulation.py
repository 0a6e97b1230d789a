"""The page of a simulation: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from escalade.edge.trace import Trace, write_trace
from escalade.simulator.formats import percent, seconds
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.replay import Replay
from escalade.simulator.replay.setting import Setting
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
    # Every figure's numbers, in the page itself.
    assert len(page.references) == 7
    assert all(one.startswith("data:text/csv") for one in page.references)
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_is_drawn_before_any_script_runs(source: str, read_page: ReadPage) -> None:
    page = read_page(source)
    figures = ["curve", "latency-0", "latency-1", "latency-2"]
    assert [name for name in page.ids if name in figures] == figures
    assert len(page.ids) == len(set(page.ids))
    for name in figures:
        assert f"figure-{name}" in page.ids
        drawn = source[source.index(f'<svg id="{name}"') :].split("</svg>", maxsplit=1)[0]
        assert drawn.count("<path") > 10
        assert 'role="img" aria-label="' in drawn


def test_no_script_runs_but_those_that_the_policy_names(source: str, read_page: ReadPage) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', source)
    assert policy is not None
    said = html.unescape(policy[1])
    assert said.startswith("default-src 'none'; ")
    data, *scripts = read_page(source).scripts
    assert json.loads(data)["networks"] == ["coe-1us", "coe-1s", "lte"]
    assert re.findall("'sha256-([^']+)'", said) == [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]


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
    text = read_page(source).text
    for title in ("Queries that go to the last tier", "Right answers"):
        assert text.count(title) == 1
    assert text.count("Queries answered") == 3


def test_figures_numbers_are_those_of_the_replay(
    source: str, found: Simulation, read_page: ReadPage
) -> None:
    frames = [
        list(csv.DictReader(io.StringIO(unquote(one.partition(",")[2]))))
        for one in read_page(source).references
    ]
    curve, points, _, *distributions, latency = frames
    name, replay = found.replays[0]
    (recorded,) = replay.thresholds
    at = {float(row["threshold"]): row for row in curve if row["trace"] == name}
    for tau in (min(at), recorded, sorted(at)[100], float("inf")):
        same = Replay.of(replay.course, [tau])
        assert float(at[tau]["calls"]) == pytest.approx(same.calls / same.queries)
        assert float(at[tau]["accuracy"]) == pytest.approx(same.accuracy)
    assert [float(row["accuracy"]) for row in points] == [
        row.accuracy for row in found.summary.points
    ]
    assert [float(row["p95_s"]) for row in latency] == [
        row.cascade.p95_s for row in found.summary.networks
    ]
    assert len(distributions) == 3
    fastest, *_, slowest = [float(row["seconds"]) for row in distributions[0][:101]]
    assert (fastest, slowest) == (replay.cascade_s.min(), replay.cascade_s.max())


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
    # And in the data that its own script reads.
    assert r"\u003cscript>alert(1)" in page.scripts[0]


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
    assert "USD a million queries, models" in text
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


def test_with_a_deadline_nothing_moves_and_what_it_does_is_said(
    realistic_trace: Trace, read_page: ReadPage, tmp_path: Path
) -> None:
    late = run_simulation(
        {"xent": realistic_trace},
        [Network(get_profile("coe-1s"))],
        [],
        setting=Setting(deadline_s=0.5),
        seed=7,
    )
    write_simulation_page(tmp_path / "late.html", late)
    page = read_page((tmp_path / "late.html").read_text("utf-8"))
    assert page.open == []
    assert "No sliders" in page.text
    assert "deadline of a link" in page.text
    assert "explorer" not in page.ids


def test_names_in_any_script_are_left_to_the_browsers_fonts(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True], names=("小", "大"))
    tiers = [
        msgspec.structs.replace(tier, name=name)
        for tier, name in zip(trace.header.tiers, ("端末", "云"), strict=True)
    ]
    named = trace._replace(header=msgspec.structs.replace(trace.header, tiers=tiers))
    found = run_simulation({"記録": named}, [Network(get_profile("lte"))], [], seed=1)
    # A warning (which is an error here) would say that matplotlib's own font has no such letters.
    write_simulation_page(tmp_path / "report.html", found)
    assert ">記録" in (tmp_path / "report.html").read_text("utf-8")
