"""The pages as people use them, in a real Chromium: on a phone and on a desk, keys and printer."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.formats import count, percent, seconds, with_unit
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.replay.latency import latency_of
from escalade.simulator.replay.replay import Replay
from escalade.simulator.replay.simulation import Simulation, run_simulation
from escalade.simulator.report import explorer
from escalade.simulator.report.simulation import write_simulation_page

pytestmark = pytest.mark.slow

Opened = Callable[..., AbstractContextManager[Any]]

#: What runs over the right edge of the window.
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def found(make_cascade: Callable[..., Trace]) -> Simulation:
    """An ensemble on a device, a gateway, a cloud, over two networks."""
    trace = make_cascade([3, 1, 1], 700, linked=[False, True, True])
    networks = [Network(get_profile(name)) for name in ("lte", "geo")]
    return run_simulation({"house": trace}, networks, [], seed=3)


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory, found: Simulation) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_simulation_page(path, found)
    return path


def cells(row: Any) -> list[str]:
    return [" ".join(text.split()) for text in row.locator("th, td").all_inner_texts()]


def set_slider(page: Any, place: int, step: int) -> None:
    """With the keys alone."""
    page.locator("input[type=range]").nth(place).focus()
    page.keyboard.press("Home")
    for _ in range(step):
        page.keyboard.press("ArrowRight")


def thresholds_at(page: Any, found: Simulation, steps: list[int]) -> list[float]:
    gates = explorer.explorer_of(found).traces[0].gates
    taus = [gate.thresholds[step] for gate, step in zip(gates, steps, strict=True)]
    return [float("inf") if tau is None else tau for tau in taus]


def answers_row(found: Simulation, replay: Replay) -> list[str]:
    """What `answers_tables` says, and the page must."""
    share = [float((replay.answered_by == tier).mean()) for tier in range(3)]
    asked = replay.members[0].mean()
    row = [f"{percent(share[0])} asking {asked:.2f} of 3", percent(share[1]), percent(share[2])]
    assert replay.accuracy is not None
    assert replay.bytes_saved is not None
    row += [percent(replay.accuracy), percent(replay.calls_saved), percent(replay.bytes_saved)]
    for model, times in (("flops_per_query", 1), ("money", 1e6)):
        tables = found.costs["house"][model]
        cascade, alone = replay.climb.spent(tables).mean(), tables[-1][-1].mean()
        change = 1 - cascade / alone
        word = "saved" if change >= 0 else "more"
        row.append(f"{count(times * cascade)} {percent(abs(change))} {word}")
    return row


@pytest.mark.parametrize("size", ["phone", "desk"])
def test_sliders_move_everything_to_what_the_replay_says(
    opened: Opened, page_path: Path, found: Simulation, size: str
) -> None:
    with opened(page_path, size) as page:
        before = {
            name: page.locator(f"#{name} .live").first.evaluate("one => one.outerHTML")
            for name in ("curve", "latency-0", "latency-1")
        }
        moving = page.locator("#curve-gate-0-1 path").get_attribute("d")
        steps = [1, 3]
        for gate, step in enumerate(steps):
            set_slider(page, gate, step)
        page.wait_for_function(
            "step => shown[0].taus[1] === data.traces[0].gates[1].thresholds[step]", arg=steps[1]
        )
        taus = thresholds_at(page, found, steps)
        for network, (_, replayed) in enumerate(found.replays):
            replay = Replay.of(replayed.course, taus)
            took = latency_of(replay.cascade_s)
            row = cells(page.locator(f"#latency-table-0 tr[data-live='{network}']"))
            assert row[2:5] == [seconds(one) for one in (took.p50_s, took.p95_s, took.mean_s)]
            page.locator(f"#figure-latency-{network} summary").click()
            row = cells(page.locator(f"#latency-{network}-table tr[data-live='0']"))
            shares = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
            assert row[1:] == [seconds(one) for one in np.quantile(replay.cascade_s, shares)]
        assert cells(page.locator("#answers-0 tr[data-live]"))[1:] == answers_row(found, replay)
        for tier in range(3):
            said = page.locator(f"[data-say='0.{tier}.asked']").inner_text()
            asked = replay.climb.reached[tier]
            assert said == f"{asked.sum():,} queries ({percent(asked.mean())})"
        up, down = (with_unit(count(one[2]), "B") for one in (replay.bytes_up, replay.bytes_down))
        assert page.locator("[data-say='0.2.bytes']").inner_text() == f"{up} up, {down} down"
        for name, was in before.items():
            assert page.locator(f"#{name} .live").first.evaluate("one => one.outerHTML") != was
        # The other gate's slider has moved the line, and the table behind it.
        assert page.locator("#curve-gate-0-1 path").get_attribute("d") != moving
        page.locator("#figure-curve summary").click()
        many = len(explorer.explorer_of(found).traces[0].gates[0].thresholds)
        row = cells(page.locator("#curve-table-0 tbody tr").nth(many + steps[1]))
        assert replay.accuracy is not None
        assert row[1:] == [percent(1 - replay.calls_saved), percent(replay.accuracy)]
        assert page.evaluate(OVERFLOW) == 0


def test_the_first_marks_are_where_the_replay_is(opened: Opened, page_path: Path) -> None:
    """A script draws over matplotlib's axes: the two must agree."""
    with opened(page_path, "desk") as page:
        dots = page.locator("#curve").evaluate(
            """svg => [svg.querySelector('circle.live'), svg.querySelector('[clip-path] use')].map(
                one => { const at = one.getBoundingClientRect();
                         return [at.x + at.width / 2, at.y + at.height / 2]; })"""
        )
        assert dots[0] == pytest.approx(dots[1], abs=1)
        paths = page.locator("#latency-0").evaluate(
            """svg => ['path.live', 'path[style*="#0072b2"]'].map(
                one => { const at = svg.querySelector(one).getBBox();
                         return [at.x, at.y, at.x + at.width, at.y + at.height]; })"""
        )
        assert paths[0] == pytest.approx(paths[1], abs=0.5)


def test_networks_are_switched_off_and_on_and_reset(opened: Opened, page_path: Path) -> None:
    with opened(page_path, "phone") as page:
        figure, row = page.locator("#figure-latency-1"), page.locator("#latency-table-0 tr")
        spent = page.locator("#latency-table-1 tbody tr")
        assert [cells(one)[0] for one in spent.all()] == ["lte", "geo"]
        page.get_by_role("checkbox", name="geo").tap()
        assert not figure.is_visible()
        assert sum(one.is_visible() for one in row.all()) == 3
        assert [one.is_visible() for one in spent.all()] == [True, False]
        set_slider(page, 0, 1)
        page.get_by_role("button", name="As replayed").tap()
        page.wait_for_function("() => shown[0].taus[0] === 0.5")
        assert figure.is_visible()


def test_keys_reach_the_sliders_first_and_are_told_what_they_do(
    opened: Opened, page_path: Path
) -> None:
    with opened(page_path, "desk", reduced_motion="reduce") as page:
        slider = page.get_by_role("slider", name="Threshold after tier0")
        for _ in range(5):  # past two networks and two buttons
            page.keyboard.press("Tab")
        page.keyboard.press("End")
        assert slider.evaluate("one => one === document.activeElement")
        page.wait_for_function("() => shown[0].taus[0] === null")
        assert slider.get_attribute("aria-valuetext") == "none goes on: 0.0% of all queries go on"
        for role, name in (("img", "Quality and calls. "), ("list", "Tiers of house")):
            assert page.get_by_role(role, name=name).count() == 1
        assert page.get_by_role("img", name="Latency").count() == 0
        moved = "[...document.querySelectorAll('*')].filter(e => e.getAnimations().length).length"
        assert page.evaluate(moved) == 0


def test_nothing_moves_under_a_finger_on_a_slider(opened: Opened, page_path: Path) -> None:
    """Whatever is said beside it and beneath it, of one line or of two."""
    with opened(page_path, "phone") as page:
        below = page.locator("#figure-curve")
        for slider in page.locator("input[type=range]").all():
            slider.evaluate("one => one.scrollIntoView({ block: 'center' })")
            before = slider.bounding_box(), below.bounding_box()
            for step in range(int(slider.get_attribute("max") or 0) + 1):
                slider.fill(str(step))
                assert (slider.bounding_box(), below.bounding_box()) == before
                said = page.locator("output").evaluate_all(
                    "all => Math.max(...all.map(one => one.scrollWidth - one.clientWidth))"
                )
                assert said == page.evaluate(OVERFLOW) == 0


def test_numbers_are_saved_as_they_stand(
    opened: Opened, page_path: Path, found: Simulation
) -> None:
    with opened(page_path, "desk") as page:
        set_slider(page, 0, 1)
        page.wait_for_function("() => shown[0].taus[0] === data.traces[0].gates[0].thresholds[1]")
        with page.expect_download() as saved:
            page.get_by_role("button", name="CSV at the sliders").click()
        rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text("utf-8"))))
        replay = Replay.of(found.replays[1][1].course, thresholds_at(page, found, [1, 2]))
        told = {(row["network"], row["quantity"]): float(row["value"]) for row in rows}
        assert told["", "accuracy"] == pytest.approx(replay.accuracy)
        assert told["geo", "p95_s"] == pytest.approx(np.quantile(replay.cascade_s, 0.95))
        with page.expect_download() as saved:
            page.get_by_role("link", name="curve.csv").click()
        assert saved.value.suggested_filename == "curve.csv"


def test_a_printer_gets_light_figures_and_every_table(opened: Opened, page_path: Path) -> None:
    with opened(page_path, "desk", color_scheme="dark") as page:
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1047})  # A4 without its margins
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert not page.locator("#sliders").is_visible()
        assert not page.locator("#save").is_visible()
        assert page.locator("#latency-0-table").is_visible()
        assert page.evaluate(OVERFLOW) == 0
        ink = page.locator("#curve text").first.evaluate("one => getComputedStyle(one).fill")
        assert ink == "rgb(0, 0, 0)"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.locator("#latency-0-table").is_visible()


def test_without_scripts_figures_and_tables_stay(opened: Opened, page_path: Path) -> None:
    with opened(page_path, "phone", java_script_enabled=False) as page:
        assert not page.locator("#sliders").is_visible()
        assert not page.locator("#save").is_visible()
        assert page.get_by_text("Sliders need JavaScript.").is_visible()
        for name in ("curve", "latency-0", "answers-0", "latency-table-0"):
            assert page.locator(f"#{name}").is_visible()


def test_of_many_queries_a_page_says_how_many_it_goes_by(
    opened: Opened, tmp_path: Path, found: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "MOST_QUERIES", 100)
    path = tmp_path / "page.html"
    write_simulation_page(path, found)
    with opened(path, "phone") as page:
        assert page.evaluate("columns[data.traces[0].gates[0].step].length") == 100
        said = page.locator("p", has_text="The sliders go by").inner_text()
        assert "100 of the 700 queries of house, drawn with seed 3" in said
