"""Puts the page and its figures together; every number is computed or the paper's."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.study_online.audited import read_counts
from benchmarks.study_online.report import audits, tables, text
from benchmarks.study_online.report.findings import findings
from benchmarks.study_online.report.means import (
    Found,
    Pair,
    Reordered,
    audited_of,
    changed_of,
    found_of,
    pairs_of,
    reordered_of,
)
from benchmarks.study_online.report.paper import TABLE
from benchmarks.study_online.settings import LEVELS, Settings
from benchmarks.study_online.streams import Shift, comedies_of
from pyarrow import parquet

from escalade.simulator.learning import LearnedRun, LevelFigures
from escalade.simulator.paper import write_learning_figures


def write(settings: Settings, docs: Path) -> None:
    """Write the page and its figures of what is there; makes no run."""
    sections, said = [], []
    compared: dict[str, list[LearnedRun]] = {}
    courses: dict[str, LearnedRun] = {}
    changed: dict[str, list[LearnedRun]] = {}
    orders: dict[str, dict[str, dict[Shift, Reordered]]] = {}
    encoded: set[str] = set()
    for pair in pairs_of(settings):
        found = found_of(settings, pair)
        if not found:
            continue
        if any(LEVELS[levels].encoders for levels in found):
            encoded.add(pair.stream.title)
        sections.append((pair.title, tables.methods_table(pair, found)))
        said += findings(pair, found)
        compared[pair.title] = [*_paper_runs(pair, found), *_drawn(found)]
        if (run := audited_of(settings, pair, list(found))) is not None:
            courses[pair.title] = run
            changed[pair.title] = changed_of(settings, pair, list(found))
        reordered = {levels: reordered_of(settings, pair, levels) for levels in found}
        if pair.stream.orders and any(reordered.values()):
            orders[pair.expert] = {levels: one for levels, one in reordered.items() if one}
    bare = {pair.stream.title for pair in pairs_of(settings)} - encoded
    if not courses:
        raise SystemExit(f"study-online: {settings.out} holds no finished runs")
    _draw(docs / "images" / "results-online", compared, courses)
    shapes = read_counts(settings.out)
    (docs / "results-online.md").write_text(
        text.page(
            settings=settings,
            bare=sorted(bare),
            majority=_majority(settings),
            machine=f"{platform.machine()}, {os.cpu_count()} cores",
            findings="\n".join(said),
            sections=sections,
            orders=_orders(settings, orders),
            costs=tables.costs_table(courses),
            audits=audits.audits_table(courses),
            changes=audits.changes_table(changed),
            shapes=audits.shapes_table(shapes),
            detection=audits.detection_table(shapes),
        )
    )


def _majority(settings: Settings) -> float | None:
    """The accuracy on HateSpeech of who always says the most frequent class."""
    if "hatespeech" not in settings.streams:
        return None
    gold = parquet.read_table(settings.file("hatespeech"))["gold"].to_numpy()
    return float(np.bincount(gold).max() / len(gold))


def _orders(
    settings: Settings, found: Mapping[str, Mapping[str, Mapping[Shift, Reordered]]]
) -> str:
    if not found:
        return ""
    return text.orders(tables.orders_table(found), comedies_of(settings.file("imdb")))


def _draw(
    figures: Path,
    compared: Mapping[str, Sequence[LearnedRun]],
    courses: Mapping[str, LearnedRun],
) -> None:
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    for path in write_learning_figures(figures, compared, courses):
        if path.suffix == ".png":  # SVG is enough for a page
            path.unlink()


def _paper_runs(pair: Pair, found: Found) -> list[LearnedRun]:
    """The paper's cascade as points of the figure."""
    rows = TABLE[pair.stream.name, pair.expert]["cascade"]
    return [
        LearnedRun(
            name="paper",
            method="cascade of the paper",
            labels=[],
            items=_measured(found),
            accuracy=accuracy / 100,
            levels=[LevelFigures(name="expert", answered=0, runs=calls, flops=None, seconds=0.0)],
        )
        for calls, accuracy in zip(pair.stream.budgets, rows.accuracy, strict=True)
    ]


def _drawn(found: Found) -> list[LearnedRun]:
    """Means over seeds, as points of the figure; calls over the items that are measured.

    Every cascade, and the baselines of the last levels: more lines cannot be told apart.
    """
    last = list(found)[-1]
    return [
        msgspec.structs.replace(
            mean.runs[0],
            items=_measured(found),
            method=f"cascade, {levels}" if method == "cascade" else method.split()[0],
            accuracy=mean.accuracy / 100,
        )
        for levels, rows in found.items()
        for method, means in rows.items()
        for mean in means
        if mean is not None and (levels == last or method in ("cascade", "expert"))
    ]


def _measured(found: Found) -> int:
    """Items of a method that is taught nothing beforehand."""
    means = [mean for rows in found.values() for row in rows.values() for mean in row if mean]
    return min(mean.runs[0].items for mean in means)
