"""Writes docs/results.md from the study's traces; every number and verdict in it is computed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from benchmarks.study import text
from benchmarks.study.arms import ARMS, CONTROL_ARMS, LOSS_ARMS, NOISE_ARMS, Settings

from escalade.cli.output import progress_bar
from escalade.edge.trace import Trace, read_trace
from escalade.simulator.evaluation import (
    CurvePoints,
    Evaluation,
    evaluate,
    seeds_table,
    tables_of,
)
from escalade.simulator.formats import TextTable
from escalade.simulator.paper import write_figures
from escalade.simulator.recorded import Rule
from escalade.training.router import train_router

MAIN = ("xent", "cat-xent", "dist", "cat-dist")
#: Held against each other directly, besides the baselines.
PAIRS = (
    ("cat-dist", "dist"),
    ("cat-xent", "cat-xent-shuffled"),
    ("noisy-cat-xent", "noisy-cat-xent-shuffled"),
    ("noisy-cat-xent", "noisy-xent-dropped"),
)
#: The rules of appendix C.1; the router of appendix B joins them.
RULES = ("mean", "sum", "min", "max", "quantile:0.4", "quantile:0.8")
#: Where the paper reads figure 2: about 20 % of the queries call the large model.
CALLS = 0.2
#: What the page shows; SVG is enough for a page.
_FIGURES = (
    "losses/deferral-curve.svg",
    "losses/a1-a2.svg",
    "losses/tasks.svg",
    "rules/rules.svg",
)


def write(settings: Settings, docs: Path) -> None:
    """Evaluate what the study has left in its folder, and write the page and its figures.

    Arms without all of their seeds are left out.
    """
    done = [name for name in ARMS if all(_metrics(settings, name))]
    if "xent" not in done:
        raise SystemExit(f"study: {settings.out} lacks the runs of `xent`, the baseline")
    traces = {name: _traces(settings, name, "test") for name in done}
    clean = [arm.name for arm in (*LOSS_ARMS, *CONTROL_ARMS) if arm.name in done]
    noisy = [arm.name for arm in NOISE_ARMS if arm.name in done]
    header = traces["xent"][0].header
    small, large = (tier.members[0] for tier in header.tiers)
    budget = 2.0 * (small.parameters + CALLS * large.parameters)

    def compared(
        names: Iterable[str],
        baseline: str,
        *,
        rules: Sequence[Rule] = ("mean",),
        by_task: bool = False,
        task: str | None = None,
        metric: str = "recorded",
    ) -> Evaluation:
        chosen = {
            name: [_only(trace, task) for trace in traces[name]] for name in names if name in traces
        }
        with progress_bar(f"evaluate against {baseline}") as bar:
            return evaluate(
                chosen, rules=rules, baseline=baseline, budget=budget, by_task=by_task,
                metric=metric, progress=bar,
            )  # fmt: skip

    found = {
        "main": compared(MAIN, "xent", by_task=True),
        "all": compared(clean, "xent"),
    }
    found["phonemes"] = compared(MAIN, "xent", task="g2p", metric="per")
    if "noisy-xent" in done:
        found["noise"] = compared(noisy, "noisy-xent")
    for name, against in PAIRS:
        if {name, against} <= set(done):
            found[f"{name}, {against}"] = compared((against, name), against)
    for name in ("xent", "cat-xent"):
        if name in done:
            valid = [r for t in _traces(settings, name, "valid") for r in t.records]
            router = ("router", train_router(valid).router)
            found[f"rules, {name}"] = compared((name,), name, rules=(*RULES, router))
    page = text.page(
        settings=settings,
        machine=machine(),
        small=small,
        large=large,
        found=found,
        tables={name: _tables(evaluation) for name, evaluation in found.items()},
        parts=_parts_table(found["main"]),
        parts_gained=_parts_gained(found["main"]),
        speed=_speed_table(settings, clean),
        filtered=_filtered_table(settings, [*clean, *noisy]),
    )
    images = docs / "images" / "results"
    shutil.rmtree(images, ignore_errors=True)
    write_figures(images / "losses", found["main"])
    if "rules, cat-xent" in found:
        write_figures(images / "rules", found["rules, cat-xent"])
    for path in images.rglob("*.*"):
        if path.relative_to(images).as_posix() not in _FIGURES:
            path.unlink()
    (docs / "results.md").write_text(page)
    (settings.out / "results.json").write_bytes(msgspec.json.encode(found))
    print(f"{docs / 'results.md'}: {len(done)} arms, {len(settings.seeds)} seeds each")


def _only(trace: Trace, task: str | None) -> Trace:
    """The queries of one task; all if None."""
    return Trace(trace.header, [r for r in trace.records if task in (None, r.task)])


def markdown(table: TextTable) -> str:
    """A table as Markdown, details in brackets."""
    rows = [[f"{c.text} ({c.detail})" if c.detail else c.text for c in row] for row in table.rows]
    return grid(table.head, rows)


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its first column is text, the others numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def _tables(evaluation: Evaluation) -> dict[str, str]:
    kinds = ("quality", "cost", "contrast")
    made = {
        kind: markdown(table)
        for kind, table in zip(kinds, tables_of(evaluation, evaluation.slices[0]), strict=False)
    }
    if (seeds := seeds_table(evaluation)) is not None:
        made["seeds"] = markdown(seeds)
    for part in evaluation.slices[1:]:
        made[f"task {part.task}"] = markdown(tables_of(evaluation, part)[-1])
    return made


def _parts_table(evaluation: Evaluation) -> str:
    """A1 and A2 (equation 9) at some deferral rates."""
    rows = []
    for curve in evaluation.slices[0].curves:
        if curve.a1 is None or curve.a2 is None:
            continue
        row = [curve.group]
        for rate in (0.0, CALLS, 0.5):
            row += [_percent(_value(curve, part, rate)) for part in ("a1", "a2")]
        rows.append(row)
    rates = [f"{part} at {rate:.0%}" for rate in (0.0, CALLS, 0.5) for part in ("A1", "A2")]
    return grid(["model", *rates], rows)


def _parts_gained(evaluation: Evaluation) -> str:
    """What CAT-Xent gains over Xent in A1 and in A2, at some deferral rates."""
    curves = {curve.group: curve for curve in evaluation.slices[0].curves}
    if "cat-xent" not in curves:
        return "-"
    said = []
    for rate in (0.0, CALLS, 0.5):
        gains = []
        for name in ("a1", "a2"):
            ours, theirs = (_value(curves[group], name, rate) for group in ("cat-xent", "xent"))
            gains.append(f"{name.upper()} {100 * (ours - theirs):+.2f}")
        said.append(f"at {rate:.0%}: {', '.join(gains)}")
    return "; ".join(said) + " points"


def _value(curve: CurvePoints, part: str, rate: float) -> float:
    """A part of the quality where the deferral rate is nearest to `rate`."""
    rates = curve.deferral_rate
    k = min(range(len(rates)), key=lambda i: abs(rates[i] - rate))
    values: list[float] = getattr(curve, part)
    return values[k]


def _speed_table(settings: Settings, arms: Iterable[str]) -> str:
    """Validation cross-entropy (equation 2, whatever was trained) on the way."""
    rows: list[list[str]] = []
    head: list[str] = []
    for name in arms:
        logs = [[e for e in m["log"] if "eval_loss" in e] for m in _metrics(settings, name) if m]
        steps = [entry["step"] for entry in logs[0]]
        shown = [0, len(steps) // 2, len(steps) - 1]
        head = ["model", *(f"step {steps[k]}" for k in shown)]
        rows.append([name, *(f"{statistics.mean(log[k]['eval_loss'] for log in logs):.4f}"
                             for k in shown)])  # fmt: skip
    return grid(head, rows)


def _filtered_table(settings: Settings, arms: Iterable[str]) -> str:
    """Share of target tokens left out of the loss, over the last tenth of training."""
    rows = []
    for name in arms:
        shares = []
        for metrics in _metrics(settings, name):
            logged = [e["tokens_filtered"] for e in metrics["log"] if "tokens_filtered" in e]
            shares += logged[-max(len(logged) // 10, 1) :]
        rows.append([name, _percent(statistics.mean(shares)) if shares else "-"])
    return grid(["model", "tokens filtered"], rows)


def _metrics(settings: Settings, name: str) -> list[dict[str, Any]]:
    paths = [settings.folder(name, seed) / "metrics.json" for seed in settings.seeds]
    return [json.loads(path.read_bytes()) if path.exists() else {} for path in paths]


def _traces(settings: Settings, name: str, split: str) -> list[Trace]:
    return [read_trace(settings.folder(name, seed) / f"{split}.jsonl") for seed in settings.seeds]


def machine() -> str:
    """What the study runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
