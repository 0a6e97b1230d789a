"""Writes an evaluation as one page; knows no formula of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from escalade.simulator.evaluation import (
    CurvePoints,
    Evaluation,
    Slice,
    cost_form,
    curve_table,
    frames_of,
    lede,
    on_device_table,
    parts_table,
    quality_form,
    seeds_table,
    tables_of,
)
from escalade.simulator.formats import TextTable
from escalade.simulator.frames import Frame, rows_where
from escalade.simulator.paper import evaluation_figures
from escalade.simulator.report.charts import Chart, chart, csv_link, policy
from escalade.simulator.report.page import write_page

_SCRIPTS = ("printing.js",)


def write_evaluation_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation; the same evaluation gives the same page.

    Raises:
        DataError: it cannot be written.
    """
    whole, *tasks = evaluation.slices
    frames = {frame.name: frame for frame in frames_of(evaluation)}
    values: dict[str, object] = {
        "names": list(evaluation.groups),
        "lede": lede(evaluation),
        "policy": policy(*_SCRIPTS),
        "scripts": _SCRIPTS,
        "facts": _facts(evaluation),
        "notes": evaluation.notes,
        "tables": tables_of(evaluation, whole),
        "tables_csv": [
            (name, csv_link(frames[name]))
            for name in ("headlines", *(["contrasts"] if whole.contrasts else []))
        ],
        "seeds": seeds_table(evaluation),
        "seeds_csv": csv_link(frames["seeds"]),
        "task_tables": [table for part in tasks for table in tables_of(evaluation, part)],
        "gates": evaluation.gates,
    }
    write_page(path, "evaluation.html", values | _charts(evaluation, frames))


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
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
        ("Gate", f"after {evaluation.gate}" if evaluation.gates > 1 else ""),
        ("Deferral rules", ", ".join(evaluation.rules)),
        ("Metric", f"{evaluation.metric.name}{better}"),
        ("Signature", evaluation.metric.signature or ""),
        ("Cost", evaluation.cost.name),
        ("Costs are compared at", quality_form(evaluation.metric).value(whole.quality)),
        ("Qualities are compared at", cost_form(evaluation.cost).value(whole.budget)),
        ("Bootstrap", f"{evaluation.resamples:,} resamples, seed {evaluation.seed}"),
    ]
    return [(name, value) for name, value in facts if value]


def _charts(
    evaluation: Evaluation, frames: dict[str, Frame]
) -> dict[str, Chart | list[Chart] | None]:
    """By what the template calls them; None where there is nothing to show."""
    whole, *tasks = evaluation.slices
    figures = evaluation_figures(evaluation, apart=True)
    first, several = evaluation.rules[0], len(evaluation.rules) > 1
    under = f", rule {first}" if several else ""

    def of_groups(
        name: str,
        title: str,
        part: Slice,
        caption: str = "",
        said: Callable[[Evaluation, CurvePoints, str], TextTable] = curve_table,
    ) -> Chart:
        curves = [curve for curve in part.curves if curve.rule == first]
        tables = {
            f"{name}-table-{k}": said(evaluation, curve, curve.group if len(curves) > 1 else "")
            for k, curve in enumerate(curves)
        }
        numbers = rows_where(frames["curves"], task=part.task, rule=first)
        return chart(name, title, figures[name], caption, tables, numbers)

    def of_rules(name: str, group: str) -> Chart:
        tables = {
            f"{name}-table-{k}": curve_table(evaluation, curve, curve.rule)
            for k, curve in enumerate(one for one in whole.curves if one.group == group)
        }
        numbers = rows_where(frames["curves"], task=None, group=group)
        return chart(name, group, figures[name], "", tables, numbers)

    found: dict[str, Chart | list[Chart] | None] = {
        "curve": of_groups(
            "deferral-curve",
            f"Deferral curve{under}",
            whole,
            "From no deferral (left) to every query deferred (right).",
        ),
        "shares": None,
        "on_device": None,
        "rules": [of_rules(f"rules-{k}", one) for k, one in enumerate(evaluation.groups)]
        if several
        else [],
        "tasks": [
            of_groups(f"task-{k}", f"{part.task} ({part.queries:,})", part)
            for k, part in enumerate(tasks)
        ],
    }
    if "a1-a2" in figures:
        found["shares"] = of_groups(
            "a1-a2",
            f"A1 and A2{under}",
            whole,
            "A1: what the queries kept by the small model add; A2: what the deferred ones add."
            " Their sum is the quality (equation 9).",
            parts_table,
        )
    device = on_device_table(evaluation)
    if device is not None:
        found["on_device"] = chart(
            "on-device",
            "Calls that are left, by bytes",
            figures["on-device"],
            "Dots with their 95% intervals.",
            {"on-device-table": device},
            frames["on_device"],
        )
    return found
