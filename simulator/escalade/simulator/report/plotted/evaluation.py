"""Writes an evaluation as one page; knows no formula of its own."""

from __future__ import annotations

from pathlib import Path

from escalade.simulator.evaluation import (
    Evaluation,
    cost_form,
    lede,
    on_device_table,
    quality_form,
    seeds_table,
    tables_of,
)
from escalade.simulator.report.page import write_page
from escalade.simulator.report.plotted import evaluation_figures as figures
from escalade.simulator.report.plotted.plots import Drawn, drawn


def write_evaluation_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation; the same evaluation gives the same page.

    Raises:
        DataError: it cannot be written.
    """
    whole, *tasks = evaluation.slices
    under = f", rule {evaluation.rules[0]}" if len(evaluation.rules) > 1 else ""
    curve = drawn(
        "quality-cost",
        f"Deferral curve{under}",
        figures.deferral_curves(evaluation, whole),
        "From no deferral (left) to every query deferred (right).",
    )
    values: dict[str, object] = {
        "names": list(evaluation.groups),
        "lede": lede(evaluation),
        "facts": _facts(evaluation),
        "notes": evaluation.notes,
        "curve": curve,
        "tables": tables_of(evaluation, whole),
        "on_device": on_device_table(evaluation),
        "shares": _shares(evaluation, under),
        "rules": _rules(evaluation),
        "seeds": seeds_table(evaluation),
        "tasks": [
            drawn(
                f"task-{k}",
                f"{part.task} ({part.queries:,})",
                figures.deferral_curves(evaluation, part, small=True),
            )
            for k, part in enumerate(tasks)
        ],
        "task_tables": [table for part in tasks for table in tables_of(evaluation, part)],
        "gates": evaluation.gates,
    }
    write_page(path, "evaluation.html", values)


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


def _shares(evaluation: Evaluation, under: str) -> Drawn | None:
    """A1 and A2, of a mean metric."""
    whole = evaluation.slices[0]
    if whole.curves[0].a1 is None:
        return None
    return drawn(
        "parts",
        f"A1 and A2{under}",
        figures.parts(evaluation, whole),
        "A1: what the queries kept by the small model add; A2: what the deferred ones add. Their"
        " sum is the quality (equation 9).",
    )


def _rules(evaluation: Evaluation) -> list[Drawn]:
    """A figure for each group, where there are several rules."""
    if len(evaluation.rules) == 1:
        return []
    whole = evaluation.slices[0]
    return [
        drawn(f"rules-{k}", group, figures.rules(evaluation, whole, group))
        for k, group in enumerate(evaluation.groups)
    ]
