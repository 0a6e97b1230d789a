"""The page of an evaluation: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation
from escalade.simulator.formats import percent
from escalade.simulator.report.plotted.evaluation import write_evaluation_page

ReadPage = Callable[[str], Any]


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
    assert page.references == []
    figures = ["quality-cost", "parts", "rules-0", "rules-1"]
    assert page.ids == [*figures, *(f"task-{k}" for k in range(4))]
    for name in page.ids:
        assert sum(f'"{name}",' in script for script in page.scripts) == 1
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
    assert r"\u003cscript\u003ealert(1)" not in source
    assert page.text.count(evil) >= 8


@pytest.mark.parametrize("metric", ["bleu", "per"])
def test_a_corpus_metric_has_no_parts(
    tmp_path: Path, make_trace: Callable[..., Trace], read_page: ReadPage, metric: str
) -> None:
    texts = [(["a b c d"], "a b c x", "a b c d"), (["e f g h i"], "e f g h i", "e f g h")]
    trace = make_trace([0.9, 0.1], [True] * 2, [True] * 2, texts=texts)
    write_evaluation_page(tmp_path / "p.html", evaluate({"m": [trace]}, metric=metric, resamples=3))
    assert read_page((tmp_path / "p.html").read_text("utf-8")).ids == ["quality-cost"]


def test_the_gate_is_named_where_there_are_several(
    tmp_path: Path, make_cascade: Callable[..., Trace], read_page: ReadPage
) -> None:
    found = evaluate({"m": [make_cascade([3, 1, 1], 50)]}, gate="tier1", resamples=3)
    write_evaluation_page(tmp_path / "p.html", found)
    text = read_page((tmp_path / "p.html").read_text("utf-8")).text
    assert "Gate after tier1" in text
    assert "Only queries that come to the gate count." in text
    assert found.notes[0] in text
