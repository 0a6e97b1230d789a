"""The page of a run over a stream: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.simulator.learning import Agreement, LearnedRun, LevelFigures, Moment
from escalade.simulator.paper.learning import write_learning_figures
from escalade.simulator.report.plotted import learning_figures
from escalade.simulator.report.plotted.learning import write_learning_page

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


@pytest.fixture(scope="module")
def run() -> LearnedRun:
    return a_run(labels=("noHate", "hate"))


@pytest.fixture
def source(tmp_path: Path, run: LearnedRun) -> str:
    path = tmp_path / "page.html"
    write_learning_page(path, run, [a_run("other", method="ensemble", labels=("noHate", "hate"))])
    return path.read_text("utf-8")


def test_page_is_well_formed_and_refers_to_nothing_outside(
    source: str, read_page: ReadPage
) -> None:
    page = read_page(source)
    assert page.open == []
    assert page.references == []
    # No class `hate` was ever right: it has no curve of recall.
    assert page.ids == ["answered", "calls", "accuracy", "agreement", "curve", "recall-0"]
    for name in page.ids:
        assert sum(f'"{name}",' in script for script in page.scripts) == 1


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
    assert page.ids == ["answered", "calls"]
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
    for trace in learning_figures.answered(run).data:
        assert list(trace.x) == [0, 100, 200, 300, 400]
        assert trace.y[0] == trace.y[1]
    nothing = msgspec.structs.replace(run, moments=[])
    assert all(not trace.x for trace in learning_figures.answered(nothing).data)
