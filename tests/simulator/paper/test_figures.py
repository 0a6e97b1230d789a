"""Figures for a paper: sized for a column, and the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from escalade.edge.trace import Trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation
from escalade.simulator.paper.figures import evaluation_figures, write_figures


def test_figures_for_a_paper_fit_a_column_and_need_no_font(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    written = [write_figures(tmp_path / name, evaluation) for name in ("a", "b")]
    names = [path.name for path in written[0]]
    stems = ("deferral-curve", "a1-a2", "rules", "tasks")
    assert names == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    png = (tmp_path / "a" / "deferral-curve.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    # The header's width: a column of 3.03 inches at 300 dots an inch.
    assert int.from_bytes(png[16:20], "big") == 909
    for path in written[0]:
        if path.suffix == ".svg":
            drawn = path.read_text("utf-8")
            assert "<text" not in drawn
            assert "font-family" not in drawn
            assert "#0072b2" in drawn.lower()


def test_figures_take_any_name(tmp_path: Path, make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9, 0.1], [True, False], [True, True])
    groups = {"_first": [trace], "a $\\frac$ b$": [trace]}
    found = evaluate(groups, rules=["recorded", ("_$x", lambda logprobs: 0.0)], resamples=3)
    # A warning (which is an error here) would say that the legend leaves a name out.
    assert len(write_figures(tmp_path, found)) == 6


def test_letters_that_the_font_lacks_are_said_once_and_left_to_the_svgs_viewer(
    tmp_path: Path, make_trace: Callable[..., Trace], caplog: pytest.LogCaptureFixture
) -> None:
    trace = make_trace([0.9, 0.1], [True, False], [True, True])
    found = evaluate({"小級聯\n": [trace], "🦊": [trace]}, resamples=3)
    # A warning (which is an error here) would be matplotlib's, one for each letter and file.
    written = write_figures(tmp_path, found)
    (said,) = caplog.messages
    assert said.startswith(
        "figures: DejaVu Sans has no letter for U+5C0F, U+7D1A, U+806F and 1 more"
    )
    assert said.isascii()
    assert said.isprintable()
    (drawn,) = (path.read_text("utf-8") for path in written if path.name == "deferral-curve.svg")
    assert "小級聯" in drawn


def test_an_svg_has_nothing_that_xml_may_not_have(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    trace = make_trace([0.9, 0.1], [True, False], [True, True])
    found = evaluate({"a\x1b\x00": [trace], "級\udcff": [trace]}, resamples=3)
    for path in write_figures(tmp_path, found):
        if path.suffix == ".svg":
            ElementTree.parse(path)  # noqa: S314 - ours


def test_figures_of_a_corpus_metric_have_no_parts(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    texts = [(["a b c d"], "a b c x", "a b c d"), (["e f g h i"], "e f g h i", "e f g h")]
    trace = make_trace([0.9, 0.1], [True] * 2, [True] * 2, texts=texts)
    for metric in ("bleu", "per"):
        found = evaluate({"m": [trace]}, metric=metric, resamples=3)
        written = write_figures(tmp_path / metric, found)
        assert [path.name for path in written] == ["deferral-curve.png", "deferral-curve.svg"]


def test_a_long_name_leaves_its_line_in_the_legend(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9, 0.1], [True, False], [True, True])
    stem = "runs/of-last-week/with-a-long-name/and-a-longer-one"
    found = evaluate({f"{stem}/plain.jsonl": [trace], f"{stem}/cat.jsonl": [trace]}, resamples=3)
    for figure in evaluation_figures(found).values():
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        said = [text.get_text() for text in legend.get_texts()]
        assert len(set(said)) == len(said)
