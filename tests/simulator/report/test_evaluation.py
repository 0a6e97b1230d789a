"""The page of an evaluation: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation, OnDevice
from escalade.simulator.formats import percent
from escalade.simulator.report.evaluation import write_evaluation_page

ReadPage = Callable[[str], Any]

FIGURES = ["deferral-curve", "a1-a2", "rules-0", "rules-1"]


def drawn(page: Any) -> list[str]:
    """The figures on a page, by their names."""
    return [one.removeprefix("figure-") for one in page.ids if one.startswith("figure-")]


def told(part: dict[str, Any], **kept: str) -> list[dict[str, Any]]:
    """The rows that curves in JSON are, one to a deferral rate."""
    rows = []
    for curve in part["curves"]:
        if all(curve[name] == value for name, value in kept.items()):
            lines = {name: values for name, values in curve.items() if isinstance(values, list)}
            rows += [
                {"task": part["task"], "group": curve["group"], "rule": curve["rule"], **points}
                for points in (
                    {name: values[k] for name, values in lines.items()}
                    for k in range(len(curve["deferral_rate"]))
                )
            ]
    return rows


def test_evaluation_page_is_whole_and_the_same_every_time(
    evaluation: Evaluation, tmp_path: Path, read_page: ReadPage
) -> None:
    sources = []
    for name in ("a.html", "b.html"):
        write_evaluation_page(tmp_path / name, evaluation)
        sources.append((tmp_path / name).read_text("utf-8"))
    assert sources[0] == sources[1]
    page = read_page(sources[0])
    assert page.open == []
    assert all(one.startswith("data:text/csv") for one in page.references)
    assert drawn(page) == [*FIGURES, *(f"task-{k}" for k in range(4))]
    for name in drawn(page):
        # A line of each of two models, or of a model under each of two rules.
        tables = [one for one in page.ids if one.startswith(f"{name}-table-")]
        assert tables == [f"{name}-table-0", f"{name}-table-1"]
    assert "Content-Security-Policy" in sources[0]
    text = page.text
    for heading in ("Quality and cost", "Deferral rules", "Seeds", "By task", "How to read this"):
        assert heading in text
    for row in evaluation.slices[0].headlines:
        for number in (row.small_quality, row.area, row.share_of_oracle_gain):
            assert number.value is not None
            assert number.low is not None
            assert number.high is not None
            interval = f"{100 * number.low:.1f} to {100 * number.high:.1f}"
            assert f"{percent(number.value)} {interval}".replace("-", "\N{MINUS SIGN}") in text
    (gain,) = (
        c.area_gain for c in evaluation.slices[0].contrasts if c.rule == c.baseline_rule == "mean"
    )
    assert f"{100 * (gain.value or 0):+.2f}" in text


def test_evaluation_page_escapes_text_from_outside(
    tmp_path: Path, make_trace: Callable[..., Trace], read_page: ReadPage
) -> None:
    evil = "<script>alert(1)</script>"
    trace = make_trace([0.9, 0.1], [False, True], [True, True])
    trace = trace._replace(records=[msgspec.structs.replace(r, task=evil) for r in trace.records])
    traces = {evil: [trace], f"{evil}&": [trace]}
    rules = ["recorded", (evil, lambda logprobs: 0.0)]
    found = evaluate(traces, rules=rules, resamples=3, by_task=True)
    write_evaluation_page(tmp_path / "page.html", found)
    source = (tmp_path / "page.html").read_text("utf-8")
    page = read_page(source)
    assert page.open == []
    assert "<script>alert" not in source
    assert page.text.count(evil) >= 8


@pytest.mark.parametrize("metric", ["bleu", "per"])
def test_a_corpus_metric_has_no_parts(
    tmp_path: Path, make_trace: Callable[..., Trace], read_page: ReadPage, metric: str
) -> None:
    texts = [(["a b c d"], "a b c x", "a b c d"), (["e f g h i"], "e f g h i", "e f g h")]
    trace = make_trace([0.9, 0.1], [True] * 2, [True] * 2, texts=texts)
    write_evaluation_page(tmp_path / "p.html", evaluate({"m": [trace]}, metric=metric, resamples=3))
    assert drawn(read_page((tmp_path / "p.html").read_text("utf-8"))) == ["deferral-curve"]


def test_the_gate_is_named_where_there_are_several(
    tmp_path: Path, make_cascade: Callable[..., Trace], read_page: ReadPage
) -> None:
    found = evaluate({"m": [make_cascade([3, 1, 1], 50)]}, gate="tier1", resamples=3)
    write_evaluation_page(tmp_path / "p.html", found)
    text = read_page((tmp_path / "p.html").read_text("utf-8")).text
    assert "Gate after tier1" in text
    assert "Only queries that come to the gate count." in text
    assert found.notes[0] in text


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_every_figure_has_tables_that_open_and_numbers_that_are_those_of_json(
    opened: Callable[..., AbstractContextManager[Any]],
    evaluation: Evaluation,
    tmp_path: Path,
    size: str,
) -> None:
    device = [
        OnDevice(
            group=group,
            bytes=1e5 * (1 + k),
            seconds=0.002,
            small_quality=row.small_quality,
            calls_to_match=row.share_of_oracle_gain,
        )
        for k, (group, row) in enumerate(
            zip(evaluation.groups, evaluation.slices[0].headlines, strict=False)
        )
    ]
    evaluation = msgspec.structs.replace(evaluation, on_device=device)
    write_evaluation_page(tmp_path / "page.html", evaluation)
    found = json.loads(msgspec.json.encode(evaluation))
    whole, *tasks = found["slices"]
    first, groups = found["rules"][0], list(found["groups"])
    expected = {
        "deferral-curve": told(whole, rule=first),
        "a1-a2": told(whole, rule=first),
        **{f"rules-{k}": told(whole, group=group) for k, group in enumerate(groups)},
        **{f"task-{k}": told(part, rule=first) for k, part in enumerate(tasks)},
    }
    with opened(tmp_path / "page.html", size) as page:
        over = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(over) == 0
        assert page.locator("figure").count() == len(expected) + 1
        for name, rows in expected.items():
            assert page.locator(f"#{name}").is_visible()
            assert saved(page, name) == rows
            for summary in page.locator(f"#figure-{name} summary").all():
                summary.focus()
                page.keyboard.press("Enter")
            for table in page.locator(f"#figure-{name} table").all():
                assert table.is_visible()
                assert table.locator("tbody tr").count() == 21
            assert page.evaluate(over) == 0
        middle = page.locator("#deferral-curve-table-0 tbody tr").nth(10)
        (curve, *_) = whole["curves"]
        half = curve["deferral_rate"].index(0.5)
        said = middle.locator("th, td").all_inner_texts()
        assert (said[0], said[2]) == ("50.0%", percent(curve["quality"][half]))
        for row, of in zip(saved(page, "on-device"), found["on_device"], strict=True):
            assert (row["group"], row["bytes"], row["seconds"]) == (of["group"], of["bytes"], 0.002)
            assert row["calls_to_match_low"] == of["calls_to_match"]["low"]
        assert [row["group"] for row in saved(page, "headlines")] == [
            row["group"] for part in found["slices"] for row in part["headlines"]
        ]
        for name in ("contrasts", "seeds"):
            assert saved(page, name)


def saved(page: Any, name: str) -> list[dict[str, Any]]:
    """A CSV of the page as it is downloaded; numbers as numbers, nothing as None."""
    with page.expect_download() as download:
        page.get_by_role("link", name=f"{name}.csv", exact=True).click()
    assert download.value.suggested_filename == f"{name}.csv"
    texts = ("task", "group", "rule", "baseline", "baseline_rule", "paired_seeds", "number")
    source = Path(download.value.path()).read_text("utf-8")
    return [
        {
            key: None if value == "" else value if key in texts else float(value)
            for key, value in row.items()
        }
        for row in csv.DictReader(io.StringIO(source))
    ]
