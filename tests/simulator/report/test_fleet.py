"""The page of a fleet: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from escalade.simulator.fleet import frames_of, lines_of, run_fleet, tables_of
from escalade.simulator.fleet.report import FleetRun
from escalade.simulator.formats import percent, seconds, three_digits
from escalade.simulator.paper import fleet_figures
from escalade.simulator.report.fleet import write_fleet_page

EVIL = "<script>alert(1)</script>"

#: Two groups, one of which is cut off for a third of the time, its queries dropped.
SPEC = f"""
seconds = 90
[cloud]
replicas = 3
slots = 2
queue = 5
price_per_hour = 2
[[groups]]
name = "phones"
count = 200
profile = "lte"
arrivals = {{ kind = "poisson", per_hour = 60 }}
answers = {{ device_s = 0.1, cloud_s = 0.4, deferral_rate = 0.25 }}
[[groups]]
name = "{EVIL}"
count = 100
profile = "leo"
arrivals = {{ kind = "poisson", per_hour = 60 }}
answers = {{ device_s = 0.1, cloud_s = 0.4, deferral_rate = 0.5, fallback = false }}
[[outages]]
group = "{EVIL}"
from_s = 30
to_s = 60
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FleetRun:
    path = tmp_path_factory.mktemp("fleet") / "fleet.toml"
    path.write_text(SPEC)
    return run_fleet(path, seed=4)


def write(path: Path, run: FleetRun) -> None:
    lines, tables = lines_of(run.report), tables_of(run.report)
    write_fleet_page(path, "harbour", lines, tables, frames_of(run))


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory, run: FleetRun) -> Path:
    path = tmp_path_factory.mktemp("page") / "fleet.html"
    write(path, run)
    return path


def test_page_is_whole_and_carries_the_numbers(
    page_path: Path, run: FleetRun, read_page: Callable[[str], Any]
) -> None:
    source = page_path.read_text("utf-8")
    page = read_page(source)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(one.startswith("data:text/csv") for one in page.references)
    for name in ("load", "replicas", "waiting", "latency"):
        assert f"figure-{name}" in page.ids
    # An outage is shaded in each figure over time.
    assert len(re.findall("fill: #808080; opacity: 0.25", source)) == 3
    assert "<script>alert" not in source
    assert page.text.count(EVIL) >= 4
    phones, cut = run.report.groups
    assert cut.dropped > 0
    assert phones.latency is not None
    for said in (
        f"{EVIL}: from 30 s to 60 s",
        percent(cut.dropped / cut.queries),
        seconds(phones.latency.p99_9),
        "phones 200 devices on lte answers",
        "(seed 4)",
    ):
        assert said in page.text
    timeline, *_, distribution, groups, loads = [
        list(csv.DictReader(io.StringIO(unquote(one.partition(",")[2])))) for one in page.references
    ]
    assert [float(row["queries_per_s"]) for row in timeline] == [
        row.queries_per_s for row in run.course
    ]
    assert int(groups[1]["dropped"]) == cut.dropped
    # Those of each group add up to all.
    for k, row in enumerate(timeline):
        own = [int(loads[k + group * len(timeline)]["queries"]) for group in range(2)]
        width_s = 90 / len(timeline)
        assert sum(own) / width_s == pytest.approx(float(row["queries_per_s"]))
    # Dropped queries have no latency.
    last = [row for row in distribution if (row["group"], row["answers"]) == (EVIL, "all")][-1]
    assert cut.latency is not None
    assert cut.latency.p99_9 <= float(last["seconds"]) < 60


def test_the_same_run_gives_the_same_page(page_path: Path, run: FleetRun, tmp_path: Path) -> None:
    write(tmp_path / "again.html", run)
    assert (tmp_path / "again.html").read_bytes() == page_path.read_bytes()


def test_one_group_has_nothing_to_switch(tmp_path: Path) -> None:
    spec = SPEC[: SPEC.rindex("[[groups]]")]
    (tmp_path / "fleet.toml").write_text(spec)
    write(tmp_path / "page.html", run_fleet(tmp_path / "fleet.toml", seed=4))
    source = (tmp_path / "page.html").read_text("utf-8")
    assert "checkbox" not in source
    assert source.count("<script>") == 1  # the printer's


def test_where_nobody_waits_the_axis_is_of_whole_queries(tmp_path: Path) -> None:
    spec = SPEC[: SPEC.rindex("[[groups]]")].replace("replicas = 3", "replicas = 300")
    (tmp_path / "fleet.toml").write_text(spec)
    drawn = fleet_figures(frames_of(run_fleet(tmp_path / "fleet.toml", seed=4)))["waiting"]
    assert drawn.axes[0].get_ylim() == (0, 1)


def rows(page: Any, table: str) -> list[str]:
    """The first cells of the rows that are to be seen."""
    found = page.locator(f"#{table} tbody tr").all()
    return [row.locator("th").inner_text() for row in found if row.is_visible()]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_groups_are_switched_off_and_on_by_keys_and_say_so(
    opened: Callable[..., AbstractContextManager[Any]], page_path: Path, run: FleetRun, size: str
) -> None:
    with opened(page_path, size) as page:
        for figure in ("load", "latency"):
            page.locator(f"#figure-{figure} summary").first.click()
        as_came = page.locator("main").inner_text()
        lines = [page.locator(f"#load-line-{kind} path") for kind in range(4)]
        drawn = [line.get_attribute("d") for line in lines]
        shades = page.locator('[id$="-outage-0"]')
        assert [one.is_visible() for one in shades.all()] == [True] * 3
        evil = page.get_by_role("checkbox", name=EVIL)
        evil.focus()
        page.keyboard.press("Space")
        assert not evil.is_checked()
        said = page.get_by_role("status").inner_text()
        assert said == "Load and latency are of phones; replicas and what waits of all."
        assert rows(page, "answered-table") == ["phones", "together"]
        left = ["phones", "phones, cloud's", "together", "together, cloud's"]
        assert rows(page, "latency-table") == left
        # Replicas and what waits are still of all.
        assert [one.is_visible() for one in shades.all()] == [False, True, True]
        assert (
            page.get_by_role("list", name="Tiers of harbour").get_by_role("listitem").count() == 2
        )
        assert not page.locator("#latency-all-1").is_visible()
        assert page.locator("#latency-all-0").is_visible()
        # The table and the curve are of the other group alone.
        width_s = 90 / 24
        own = run.loads["phones"].reshape(5, 24, -1).sum(axis=2)
        for k, row in enumerate(page.locator("#load-table tbody tr").all()):
            told = row.locator("td").all_inner_texts()
            assert told == [three_digits(own[kind, k] / width_s) for kind in range(4)]
        assert lines[0].get_attribute("d") != drawn[0]
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") == 0
        page.get_by_role("button", name="All groups").click()
        page.wait_for_function("() => document.getElementById('shown').textContent === ''")
        assert page.locator("main").inner_text() == as_came
        assert [line.get_attribute("d") for line in lines] == drawn


REFUSING = SPEC[: SPEC.index("[[outages]]")].replace(EVIL, "tills").replace(
    "profile =", 'gateway = "shops"\ndevice = "pi-5"\nprofile ='
).replace("deferral_rate", "gateway_s = 0.2, gateway_deferral_rate = 0.5, deferral_rate").replace(
    ", fallback = false", ""
) + """
[[gateways]]
name = "shops"
count = 1
queue = 0
profile = "fios"
"""  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_what_gateways_refuse_and_what_devices_draw_is_shown(
    opened: Callable[..., AbstractContextManager[Any]], tmp_path: Path, size: str
) -> None:
    (tmp_path / "fleet.toml").write_text(REFUSING)
    run = run_fleet(tmp_path / "fleet.toml", seed=4)
    write(tmp_path / "fleet.html", run)
    with opened(tmp_path / "fleet.html", size) as page:
        page.locator("#figure-load summary").first.click()
        page.get_by_role("checkbox", name="tills").click()
        own = run.loads["phones"].reshape(5, 24, -1).sum(axis=2)
        assert own[4].sum() > 0
        told = [
            row.locator("td").all_inner_texts()[4]
            for row in page.locator("#load-table tbody tr").all()
        ]
        assert told == [three_digits(many / (90 / 24)) for many in own[4]]
        assert page.locator("#load-line-4").is_visible()
        energy = page.get_by_role("region", name="Energy of devices")
        assert energy.locator("tbody th").all_inner_texts() == ["phones", "tills"]
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") == 0


@pytest.mark.slow
def test_what_the_script_draws_is_where_matplotlib_has_it(
    opened: Callable[..., AbstractContextManager[Any]], page_path: Path
) -> None:
    with opened(page_path, "desk") as page:
        found = page.evaluate(
            """() => {
                const box = (one) => { const at = one.getBBox();
                                       return [at.x, at.y, at.x + at.width, at.y + at.height]; };
                const line = document.querySelector("#load-line-0 path"), before = box(line);
                line.setAttribute("d", steps(rates(0, [0, 1])));
                return [before, box(line)];
            }"""
        )
        assert found[0] == pytest.approx(found[1], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_page_fits_and_opens_its_tables(
    opened: Callable[..., AbstractContextManager[Any]], page_path: Path, run: FleetRun, size: str
) -> None:
    with opened(page_path, size) as page:
        over = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(over) == 0
        page.locator("#figure-load summary").focus()
        page.keyboard.press("Enter")
        assert page.locator("#load-table tbody tr").count() == len(run.report.timeline)
        assert page.locator("#load-table").is_visible()
        assert page.evaluate(over) == 0
        assert page.get_by_role("list", name="Tiers of harbour").count() == 1
        with page.expect_download() as saved:
            page.get_by_role("link", name="load.csv").click()
        assert len(Path(saved.value.path()).read_text().splitlines()) == len(run.course) + 1
