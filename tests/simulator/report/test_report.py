"""The report: whole, self-contained, escaped, and the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from escalade.edge.trace.trace import Trace, write_trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation
from escalade.simulator.markup import count, nominal_seconds, percent, seconds
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.paper.figures import write_figures
from escalade.simulator.replay.simulation import run_study, simulate
from escalade.simulator.report.evaluation_page import write_evaluation_page
from escalade.simulator.report.report import write_report, write_simulation_page
from escalade.simulator.report.tables import comparisons

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects texts outside scripts, attributes, and whether every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "action"}:
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.scripts if "script" in self.open else self.texts
        where.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def two_traces(
    tmp_path_factory: pytest.TempPathFactory, realistic_trace: Trace, better_trace: Trace
) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        path,
        {"xent": realistic_trace, "cat-xent": better_trace},
        [get_profile("coe-1us"), get_profile("coe-1s"), get_profile("lte")],
        seed=7,
    )
    return path.read_text("utf-8")


def test_page_is_well_formed_and_refers_to_nothing_outside(two_traces: str) -> None:
    page = Page(two_traces)
    assert page.open == []
    assert page.references == []
    style = two_traces[two_traces.index("<style>") : two_traces.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_plotly_is_inlined_once_and_every_figure_is_drawn(two_traces: str) -> None:
    page = Page(two_traces)
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    figures = ["quality-flops", "quality-rate", "shares", "latency-0", "latency-1", "latency-2"]
    assert page.ids == figures
    for name in figures:
        assert sum(f'"{name}",' in script for script in page.scripts) == 1


def test_page_carries_the_numbers(
    two_traces: str, realistic_trace: Trace, better_trace: Trace
) -> None:
    text = Page(two_traces).text
    study = run_study(
        {"xent": realistic_trace, "cat-xent": better_trace},
        [get_profile("coe-1us"), get_profile("coe-1s"), get_profile("lte")],
        [],
        seed=7,
    )
    for row in study.summary.points:
        assert f"accuracy {percent(row.point.quality)}" in text
        assert f"deferral rate {percent(row.point.deferral_rate)}" in text
        assert f"{percent(row.calls_saved)} of the calls" in text
        assert f"{percent(row.bytes_saved)} of the bytes" in text
    for profile in study.summary.profiles:
        for latency in (profile.cascade, profile.cloud_only):
            assert seconds(latency.p50_s) in text
            assert seconds(latency.p95_s) in text
    for task in study.summary.tasks:
        assert percent(task.accuracy.cascade_accuracy) in text
    (comparison,) = study.summary.comparisons
    assert f"{100 * comparison.quality.difference:+.1f} points" in text
    for said in ("1,000", "900 k", "6.20 M", "mean", "0.35", "Seed of this replay 7"):
        assert said in text
    assert "RTT 1 µs" in text
    assert "RTT 1 s" in text


def test_axes_have_titles_with_units(two_traces: str) -> None:
    scripts = " ".join(Page(two_traces).scripts[-6:])
    titles = set(re.findall(r'"title":\{"font":\{"size":13\},"text":"([^"]+)"', scripts))
    assert titles == {
        "Compute per token (FLOPs)",
        "Accuracy",
        "Deferral rate",
        "Share of all queries",
        "Latency (log scale)",
        "Queries answered",
    }


def test_text_from_outside_is_escaped_everywhere(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    evil = "<script>alert(1)</script>"
    trace = make_trace([0.9, 0.1], [False, True], [True, True], names=(evil, f"{evil}&"))
    records = [msgspec.structs.replace(r, task=evil, prompt=evil) for r in trace.records]
    header = msgspec.structs.replace(trace.header, rule=evil, created=evil)
    profile = Profile(name=evil, rtt_ms=1, down_mbps=None, up_mbps=None, source=evil)
    path = tmp_path / "report.html"
    write_report(path, {evil: trace._replace(header=header, records=records)}, [profile], seed=0)
    source = path.read_text("utf-8")
    page = Page(source)
    assert page.open == []
    assert "<script>alert" not in source
    # Read as text it is all there: names, rule, date, task, network and its source.
    assert page.text.count(evil) >= 8
    assert not any(script.startswith("alert(1)") for script in page.scripts)
    # In a figure plotly reads pseudo-HTML, so there the name is escaped once more.
    assert r"\u003cscript\u003ealert(1)" not in source
    assert "&lt;script&gt;alert(1)" in " ".join(page.scripts).replace(r"\u0026", "&")


def test_same_study_same_page_and_several_thresholds(
    tmp_path: Path, realistic_trace: Trace
) -> None:
    trace_path = tmp_path / "trace.jsonl"
    write_trace(trace_path, realistic_trace.header, realistic_trace.records)
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        write_simulation_page(page, simulate([trace_path], ["leo"], [0.2, 0.5], seed=3))
    assert pages[0].read_bytes() == pages[1].read_bytes()
    text = Page(pages[0].read_text("utf-8")).text
    assert "trace, threshold 0.2" in text
    assert "trace, threshold 0.5" in text
    assert sorted(tmp_path.iterdir()) == [*pages, trace_path]


def test_notes_and_unreachable_quality_are_said(make_trace: Callable[..., Trace]) -> None:
    good = make_trace([0.9, 0.1], [True, True], [True, True])
    bad = make_trace([0.9, 0.1], [False, False], [False, False])
    other = make_trace([0.9], [True], [True])
    summary = run_study(
        {"good": good, "bad": bad, "other": other}, [get_profile("free")], [], seed=0
    ).summary
    said = comparisons(summary)
    assert "bad does not reach 100.0% at any cost" in said
    assert "other was not compared with good" in said


@pytest.mark.parametrize(
    ("value_s", "measured", "nominal"),
    [
        (0.0, "0 s", "0 s"),
        (1e-6, "1.00 µs", "1 µs"),
        (0.0842, "84.2 ms", "84.2 ms"),
        (0.15, "150 ms", "150 ms"),
        (1.2, "1.20 s", "1.2 s"),
    ],
)
def test_times_read_well(value_s: float, measured: str, nominal: str) -> None:
    assert seconds(value_s) == measured
    assert nominal_seconds(value_s) == nominal


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (7, "7.00"), (999.6, "1.00 k"), (4.21e6, "4.21 M")]
)
def test_counts_read_well(value: float, said: str) -> None:
    assert count(value) == said


@pytest.fixture(scope="module")
def evaluation(realistic_trace: Trace, better_trace: Trace) -> Evaluation:
    groups = {"xent": [realistic_trace, better_trace], "cat": [better_trace, better_trace]}
    return evaluate(groups, rules=["recorded", "mean"], resamples=20, by_task=True)


def test_evaluation_page_is_whole_and_the_same_every_time(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    sources = []
    for name in ("a.html", "b.html"):
        write_evaluation_page(tmp_path / name, evaluation)
        sources.append((tmp_path / name).read_text("utf-8"))
    assert sources[0] == sources[1]
    page = Page(sources[0])
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
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    evil = "<script>alert(1)</script>"
    trace = make_trace([0.9, 0.1], [False, True], [True, True])
    trace = trace._replace(records=[msgspec.structs.replace(r, task=evil) for r in trace.records])
    traces = {evil: [trace], f"{evil}&": [trace]}
    rules = ["recorded", (evil, lambda logprobs: 0.0)]
    found = evaluate(traces, rules=rules, resamples=3, by_task=True)
    write_evaluation_page(tmp_path / "page.html", found)
    source = (tmp_path / "page.html").read_text("utf-8")
    page = Page(source)
    assert page.open == []
    assert "<script>alert" not in source
    assert r"\u003cscript\u003ealert(1)" not in source
    assert page.text.count(evil) >= 8


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


def test_figures_of_a_corpus_metric_have_no_parts(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    texts = [(["a b c d"], "a b c x", "a b c d"), (["e f g h i"], "e f g h i", "e f g h")]
    trace = make_trace([0.9, 0.1], [True] * 2, [True] * 2, texts=texts)
    for metric in ("bleu", "per"):
        found = evaluate({"m": [trace]}, metric=metric, resamples=3)
        written = write_figures(tmp_path / metric, found)
        assert [path.name for path in written] == ["deferral-curve.png", "deferral-curve.svg"]
        write_evaluation_page(tmp_path / f"{metric}.html", found)
        assert Page((tmp_path / f"{metric}.html").read_text("utf-8")).ids == ["quality-cost"]
