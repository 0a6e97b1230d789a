"""The page of a run over a stream: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from escalade.simulator.learning import (
    Agreement,
    LearnedRun,
    LevelFigures,
    Moment,
    course_tables,
    in_stretches,
)
from escalade.simulator.paper.learning import learning_figures, write_learning_figures
from escalade.simulator.report.learning import write_learning_page

ReadPage = Callable[[str], Any]
_NONE = "\N{EN DASH}"
EVIL = "<script>alert(1)</script>"


def a_run(name: str = "mu-1", *, method: str = "cascade", labels: tuple[str, str]) -> LearnedRun:
    moments = [
        Moment(
            items=100 * k,
            by={"linear": 20 * k, "expert": 100 - 20 * k},
            calls=100 * k - 10 * k * (k + 1),
            accuracy=0.8 + 0.01 * k,
            recent_accuracy=0.8,
            recent_measured=100,
            agreement=Agreement(low=0.1 * k, estimate=None if k == 1 else 0.9, high=1.0),
        )
        for k in range(1, 5)
    ]
    levels = [
        LevelFigures(
            name="linear", answered=200, runs=350, learning_runs=20, updates=31, flops=2.5e6,
            learning_flops=9e6, seconds=0.12, learning_seconds=0.5,
        ),
        LevelFigures(name="expert", answered=200, runs=208, flops=None, seconds=1.5),
    ]  # fmt: skip
    return LearnedRun(
        name=name, method=method, mu=0.25, labels=list(labels), items=400, accuracy=0.84,
        recall={labels[0]: 0.9, labels[1]: None}, precision={labels[0]: 0.7, labels[1]: 0.5},
        agreement=moments[-1].agreement, levels=levels, moments=moments, alarms=[317],
    )  # fmt: skip


def figures(page: Any) -> list[str]:
    """Those on a page, by their names."""
    return [one.removeprefix("figure-") for one in page.ids if one.startswith("figure-")]


@pytest.fixture(scope="module")
def run() -> LearnedRun:
    return a_run(labels=("noHate", "hate"))


@pytest.fixture
def source(tmp_path: Path, run: LearnedRun) -> str:
    path = tmp_path / "page.html"
    write_learning_page(path, run, [a_run("other", method="ensemble", labels=("noHate", "hate"))])
    return path.read_text("utf-8")


def test_page_is_whole_and_each_figure_has_its_table_and_numbers(
    source: str, run: LearnedRun, read_page: ReadPage
) -> None:
    page = read_page(source)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    # No class `hate` was ever right: it has no curve of recall.
    drawn = ["answered", "calls", "accuracy", "agreement", "curve", "recall-0"]
    assert figures(page) == drawn
    for name in drawn:
        assert f"{name}-table" in page.ids
        assert f'<svg id="{name}" ' in source
    assert "Content-Security-Policy" in source
    assert len(page.scripts) == 1
    assert all(one.startswith("data:text/csv") for one in page.references)
    answered, calls, accuracy, agreement, alarms, levels, classes, curve, recall, runs = [
        list(csv.DictReader(io.StringIO(unquote(one.partition(",")[2])))) for one in page.references
    ]
    assert [int(row["answered"]) for row in answered if row["level"] == "linear"] == [
        moment.by["linear"] for moment in run.moments
    ]
    assert calls == accuracy == agreement
    assert [float(row["accuracy"]) for row in accuracy] == [m.accuracy for m in run.moments]
    assert [row["agreement"] for row in agreement] == ["", "0.9", "0.9", "0.9"]
    assert [row["items"] for row in alarms] == ["317"]
    assert [row["level"] for row in levels] == ["linear", "expert"]
    assert [row["recall"] for row in classes] == ["0.9", ""]
    assert curve == runs
    assert [row["run"] for row in runs] == ["mu-1", "other"]
    assert {row["class"] for row in recall} == {"noHate"}


def test_page_carries_the_numbers(source: str, read_page: ReadPage) -> None:
    text = read_page(source).text
    for said in (
        "mu-1: 400 items, 208 calls of the expert (48.0% saved); accuracy 84.0%; agreement with the"
        " expert 90.0% (40.0% to 100.0%); the alarm went off after 317 items",
        "linear 50.0% 200 350 20 to learn 31 2.50 M 9.00 M to learn 120 ms 500 ms to learn",
        f"expert 50.0% 200 208 {_NONE} {_NONE} 1.50 s",
        "noHate 90.0% 70.0%",
        f"hate {_NONE} 50.0%",
        "other ensemble, mu 0.25 208 52.0% 84.0%",
    ):
        assert said in text


def test_a_run_by_itself_without_labels_and_audit(
    tmp_path: Path, run: LearnedRun, read_page: ReadPage
) -> None:
    bare = [msgspec.structs.replace(m, accuracy=None, agreement=None) for m in run.moments]
    alone = msgspec.structs.replace(
        run, accuracy=None, recall={}, precision={}, agreement=None, alarms=[], moments=bare
    )
    path = tmp_path / "page.html"
    write_learning_page(path, alone)
    page = read_page(path.read_text("utf-8"))
    assert figures(page) == ["answered", "calls"]
    for word in ("accuracy", "Classes", "Agreement", "alarm", "Against"):
        assert word not in page.text


def test_the_same_runs_give_the_same_page(tmp_path: Path, run: LearnedRun) -> None:
    for name in ("a", "b"):
        write_learning_page(tmp_path / name, run, [run])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_text_from_outside_is_escaped_everywhere(tmp_path: Path, read_page: ReadPage) -> None:
    run = a_run(EVIL, method=EVIL, labels=(EVIL, f"{EVIL}&"))
    levels = [msgspec.structs.replace(run.levels[0], name=EVIL), run.levels[1]]
    path = tmp_path / "page.html"
    write_learning_page(path, msgspec.structs.replace(run, levels=levels), [run])
    source = path.read_text("utf-8")
    assert read_page(source).open == []
    assert "<script>alert" not in source
    assert read_page(source).text.count(EVIL) >= 6


def test_figures_for_a_paper_are_the_same_every_time(tmp_path: Path, run: LearnedRun) -> None:
    runs = [run, a_run("_other", method="_$x", labels=("noHate", "hate"))]
    written = [
        write_learning_figures(tmp_path / name, {"one": runs, "two": [run]}, {"one": run})
        for name in ("a", "b")
    ]
    stems = ("curves", "answered")
    assert [p.name for p in written[0]] == [f"{s}.{k}" for s in stems for k in ("png", "svg")]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_who_answered_is_drawn_from_the_first_item_on() -> None:
    run = a_run(labels=("ham", "spam"))
    (axes,) = learning_figures(run)["answered"].axes
    assert axes.get_xlim() == (0, 400)
    linear = axes.collections[0].get_paths()[0].vertices
    assert {0, 100, 200, 300, 400} == set(linear[:, 0])
    assert max(y for x, y in linear if x < 100) == pytest.approx(0.2)
    nothing = msgspec.structs.replace(run, moments=[])
    assert all(figure.axes for figure in learning_figures(nothing, [run]).values())


def test_of_a_long_stream_points_and_rows_are_of_several_moments(
    tmp_path: Path, run: LearnedRun, read_page: ReadPage
) -> None:
    one = run.moments[0]
    moments = [
        msgspec.structs.replace(
            one, items=100 * k, calls=k, recent_accuracy=k % 2, recent_measured=1 + k % 2 * 3
        )
        for k in range(1, 1001)
    ]
    long = msgspec.structs.replace(run, moments=moments)
    shorter = in_stretches(long, 400).moments
    assert len(shorter) == 334
    assert shorter[-1].items == 100_000
    assert shorter[0].by == {"linear": 60, "expert": 240}
    assert shorter[0].recent_accuracy == pytest.approx(8 / 9)  # of 4, 1 and 4
    assert in_stretches(run, 4) == run
    for table in course_tables(long).values():
        assert len(table.rows) == 20
        assert table.rows[-1][0].text == "100,000"
    write_learning_page(tmp_path / "page.html", long)
    source = (tmp_path / "page.html").read_text("utf-8")
    assert "of several moments of the run" in read_page(source).text
    assert len(source) < 500_000


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_tables_open_by_keys_and_nothing_is_wider_than_the_window(
    opened: Callable[..., AbstractContextManager[Any]], tmp_path: Path, run: LearnedRun, size: str
) -> None:
    path = tmp_path / "page.html"
    other = a_run("/runs/" + 80 * "x", method="ensemble", labels=("noHate", "hate"))
    write_learning_page(path, run, [other])
    over = "document.documentElement.scrollWidth - window.innerWidth"
    with opened(path, size) as page:
        assert page.evaluate(over) == 0
        names = [one.get_attribute("id") for one in page.locator("figure").all()]
        assert len(names) == 6
        for name in names:
            assert page.locator(f"#{name} > svg").is_visible()
            page.locator(f"#{name} summary").focus()
            page.keyboard.press("Enter")
            assert page.locator(f"#{name} table").is_visible()
            with page.expect_download() as download:
                page.locator(f"#{name} a").click()
            assert f"figure-{download.value.suggested_filename}" == f"{name}.csv"
        # However long a name, its numbers are beside it.
        rows = page.locator("#curve-table tbody tr").all()
        assert len(rows) == 2
        for row in rows:
            box = row.locator("td").first.bounding_box()
            assert size == "desk" or box["x"] + box["width"] < 390
        assert page.evaluate(over) == 0
