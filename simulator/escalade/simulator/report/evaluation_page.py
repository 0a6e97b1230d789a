"""Writes an evaluation as one HTML page that needs no network; knows no formula of its own."""

from __future__ import annotations

import html
from pathlib import Path

from escalade.simulator.evaluation import (
    Cell,
    Evaluation,
    Slice,
    TextTable,
    cost_form,
    lede,
    quality_form,
    seeds_table,
    tables_of,
)
from escalade.simulator.markup import table, table_row
from escalade.simulator.report import evaluation_figures as figures
from escalade.simulator.report.page import figure_html, page, write_html

_METHOD = """
<ul>
<li>A query is deferred when its score reaches the threshold (equation 4 of
<i>Cascade-Aware Training of Language Models</i>, arXiv 2406.00060). Every threshold is a
replay of recorded answers; no model ran for this page. Curves are exact at every distinct
score, and queries that tie are deferred together; drawn are the values at every half percent
of deferral, means over seeds where a model has several, shaded from the lowest to the highest
seed.</li>
<li>Cost: the mean over queries of the small model's cost plus, for a deferred query, the large
model's (equation 6). The large model alone is not charged for the small one. FLOPs per token
are 2 x parameters (section 4.1).</li>
<li>Random deferral: the expected statistics of a random share of the queries. Oracle: the
queries deferred first for which the large model gains most. For a corpus metric the oracle
goes by each query's gain in a corpus answered half by each model: strong, not proven best.</li>
<li>Mean over rates: the area under quality against deferral rate. Of the oracle's gain: how
much of the way from random deferral's area to the oracle's. Where some queries always defer,
lower rates count with the quality at the lowest in reach.</li>
<li>Cost of a quality: where the curve first reaches it. On few queries a curve is jagged and
this is optimistic; the interval says by how much it may move.</li>
<li>Intervals: 95%, percentile bootstrap. Queries are drawn with replacement, the same for all
models, and thresholds set anew in each resample. Where a model has several seeds these are
drawn too, independently (Owen 2007, the pigeonhole bootstrap), the same for models with as
many seeds; with few seeds intervals come out too narrow. p: two-sided, from the paired
bootstrap of the difference in area (Efron and Tibshirani 1993; Koehn 2004), not adjusted for
the number of comparisons.</li>
</ul>
"""


def write_evaluation_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation; the same evaluation gives the same page."""
    names = html.escape(", ".join(evaluation.groups))
    sections = [
        ("What was evaluated", _settings(evaluation)),
        ("Quality and cost", _quality(evaluation)),
        ("Where the quality comes from", _parts(evaluation)),
        ("Deferral rules", _rules(evaluation)),
        ("Seeds", _seeds(evaluation)),
        ("By task", _tasks(evaluation)),
        ("How to read this", _METHOD),
    ]
    opening = "\n".join(f'<p class="lede">{html.escape(line)}</p>' for line in lede(evaluation))
    write_html(path, page(f"Cascade evaluation: {names}", opening, sections))


def _settings(evaluation: Evaluation) -> str:
    whole = evaluation.slices[0]
    groups = [
        name if seeds == 1 else f"{name} ({seeds} seeds)"
        for name, seeds in evaluation.groups.items()
    ]
    better = "" if evaluation.metric.higher_is_better else ", lower is better"
    facts = [
        ("Models", ", ".join(groups)),
        ("Baseline", evaluation.baseline),
        ("Queries", f"{whole.queries:,}"),
        ("Deferral rules", ", ".join(evaluation.rules)),
        ("Metric", f"{evaluation.metric.name}{better}"),
        ("Signature", evaluation.metric.signature or ""),
        ("Cost", evaluation.cost.name),
        ("Costs are compared at", quality_form(evaluation.metric).value(whole.quality)),
        ("Qualities are compared at", cost_form(evaluation.cost).value(whole.budget)),
        ("Bootstrap", f"{evaluation.resamples:,} resamples, seed {evaluation.seed}"),
    ]
    rows = [table_row([name, html.escape(value)]) for name, value in facts if value]
    notes = "".join(f'<p class="soft">Note: {html.escape(note)}</p>' for note in evaluation.notes)
    return table(["", ""], rows, kind="facts") + notes


def _quality(evaluation: Evaluation) -> str:
    whole = evaluation.slices[0]
    drawn = figure_html(
        "quality-cost",
        "Deferral curve" + _under(evaluation),
        figures.deferral_curves(evaluation, whole),
        "From no deferral (left) to every query deferred (right).",
    )
    return drawn + _tables(evaluation, whole)


def _parts(evaluation: Evaluation) -> str:
    whole = evaluation.slices[0]
    if whole.curves[0].a1 is None:
        return ""
    return figure_html(
        "parts",
        "A1 and A2" + _under(evaluation),
        figures.parts(evaluation, whole),
        "A1: what the queries kept by the small model add; A2: what the deferred ones add. Their"
        " sum is the quality (equation 9).",
    )


def _rules(evaluation: Evaluation) -> str:
    if len(evaluation.rules) == 1:
        return ""
    whole = evaluation.slices[0]
    return "".join(
        figure_html(f"rules-{k}", html.escape(group), figures.rules(evaluation, whole, group))
        for k, group in enumerate(evaluation.groups)
    )


def _seeds(evaluation: Evaluation) -> str:
    found = seeds_table(evaluation)
    return "" if found is None else _html(found)


def _tasks(evaluation: Evaluation) -> str:
    tasks = evaluation.slices[1:]
    if not tasks:
        return ""
    legend = ", ".join(evaluation.groups)
    drawn = "".join(
        figure_html(
            f"task-{k}",
            html.escape(f"{part.task} ({part.queries:,})"),
            figures.deferral_curves(evaluation, part, small=True),
        )
        for k, part in enumerate(tasks)
    )
    found = "".join(_tables(evaluation, part) for part in tasks)
    return (
        f"<p>Thresholds swept over each task's own queries. In colours as above:"
        f" {html.escape(legend)}; dotted random deferral, dashed oracle.</p>"
        f'<div class="grid">{drawn}</div>{found}'
    )


def _under(evaluation: Evaluation) -> str:
    """Which rule, where there are several."""
    return f", rule {html.escape(evaluation.rules[0])}" if len(evaluation.rules) > 1 else ""


def _tables(evaluation: Evaluation, part: Slice) -> str:
    return "".join(
        f"<h3>{html.escape(found.title)}</h3>{_html(found)}"
        for found in tables_of(evaluation, part)
    )


def _html(found: TextTable) -> str:
    return table(
        [html.escape(name) for name in found.head],
        [table_row([_cell(cell) for cell in row]) for row in found.rows],
        kind="estimates",
    )


def _cell(cell: Cell) -> str:
    detail = f'<br><span class="soft">{html.escape(cell.detail)}</span>' if cell.detail else ""
    return html.escape(cell.text) + detail
