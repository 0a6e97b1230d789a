"""Writes docs/results-online.md from the study's runs; every number is computed or the paper's."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.study_online import text
from benchmarks.study_online.audited import STREAMS as STREAMS_COUNTED
from benchmarks.study_online.audited import ShapeFigures, read_counts
from benchmarks.study_online.paper import ALONE, TABLE, Row
from benchmarks.study_online.runs import MissingError, at_budget, audited, methods
from benchmarks.study_online.settings import EXPERTS, STREAMS, Case, Levels, Settings, Stream
from pyarrow import parquet

from escalade.simulator.formats import count
from escalade.simulator.learning import EXPERT, LearnedRun, LevelFigures
from escalade.simulator.paper import write_learning_figures

_NONE = "\N{EN DASH}"


class Mean(NamedTuple):
    """A method at one budget, over its seeds."""

    calls: float
    accuracy: float
    spread: float
    recall: float | None
    runs: list[LearnedRun]


#: By levels and method, at each budget; None where a seed is missing.
Found = Mapping[Levels, Mapping[str, Sequence[Mean | None]]]


def write(settings: Settings, docs: Path) -> None:
    """Write the page and its figures of what is there; makes no run."""
    sections, verdicts = [], []
    compared: dict[str, list[LearnedRun]] = {}
    courses: dict[str, LearnedRun] = {}
    shifted: dict[str, list[LearnedRun]] = {}
    for name in settings.streams:
        for expert in settings.experts:
            stream, title = STREAMS[name], f"{STREAMS[name].title}, {EXPERTS[expert][0]}"
            found = {levels: _means(settings, name, expert, levels) for levels in settings.levels}
            found = {levels: rows for levels, rows in found.items() if rows}
            if not found:
                continue
            sections.append((title, _table(stream, expert, found)))
            verdicts += _verdicts(stream, expert, title, found)
            compared[title] = [*_paper_runs(stream, expert, found), *_drawn(found)]
            if (run := _audited(settings, name, expert, list(found))) is not None:
                courses[title] = run
                shifted[title] = _shifted(settings, name, expert, list(found))
    if not courses:
        raise SystemExit(f"study-online: {settings.out} holds no finished runs")
    figures = docs / "images" / "results-online"
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    for path in write_learning_figures(figures, compared, courses):
        if path.suffix == ".png":  # SVG is enough for a page
            path.unlink()
    shapes = read_counts(settings.out)
    (docs / "results-online.md").write_text(
        text.page(
            settings=settings,
            majority=_majority(settings, "hatespeech"),
            machine=f"{platform.machine()}, {os.cpu_count()} cores",
            verdicts="\n".join(verdicts),
            sections=sections,
            costs=_costs(courses),
            audits=_audits(courses),
            shifts=_shifts(shifted),
            shapes=_shapes(shapes),
            detection=_detection(shapes),
        )
    )


def _majority(settings: Settings, stream: str) -> float:
    """The accuracy of who always says the most frequent class."""
    gold = parquet.read_table(settings.data / f"{stream}.parquet")["gold"].to_numpy()
    return float(np.bincount(gold).max() / len(gold))


def _means(
    settings: Settings, name: str, expert: str, levels: Levels
) -> dict[str, list[Mean | None]]:
    """By method, at each budget; None where a seed is missing."""
    rows: dict[str, list[Mean | None]] = {}
    stream = STREAMS[name]
    for first in methods(name, expert, settings.seeds[0], levels):
        method = f"distilled {first.level}" if first.level else first.method
        rows[method] = [_mean(settings, stream, first, budget) for budget in stream.budgets]
    return {method: row for method, row in rows.items() if any(row)}


def _mean(settings: Settings, stream: Stream, first: Case, budget: int) -> Mean | None:
    try:
        runs = [
            at_budget(settings, first._replace(seed=seed), budget, make=False).run
            for seed in settings.seeds
        ]
    except MissingError:
        return None
    accuracies = [100 * (run.accuracy or 0.0) for run in runs]
    recalls = [run.recall.get(stream.recall) or 0.0 for run in runs] if stream.recall else None
    return Mean(
        calls=statistics.fmean(run.calls for run in runs),
        accuracy=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        recall=None if recalls is None else 100 * statistics.fmean(recalls),
        runs=runs,
    )


def _audited(
    settings: Settings, name: str, expert: str, levels: Sequence[Levels]
) -> LearnedRun | None:
    """The first seed's, with the most levels that are there."""
    for one in reversed(levels):
        try:
            return audited(
                settings, Case(name, expert, settings.seeds[0], one, "cascade"), make=False
            )
        except MissingError:
            continue
    return None


def _verdicts(stream: Stream, expert: str, title: str, found: Found) -> list[str]:
    """The cascade beside the paper's, and how little of the expert gives the expert's accuracy."""
    paper = TABLE[stream.name, expert]["cascade"]
    lines = []
    for levels, rows in found.items():
        named = f"{title}, `{levels}`"
        cascade = [mean for mean in rows["cascade"] if mean is not None]
        against = [
            f"{mean.accuracy - theirs:+.1f} with {mean.calls:,.0f} for {budget:,}"
            for mean, theirs, budget in zip(
                rows["cascade"], paper.accuracy, stream.budgets, strict=True
            )
            if mean is not None
        ]
        lines.append(f"- {named}: points against the paper's cascade: {', '.join(against)} calls.")
        alone = found.get("linear", {}).get("expert", [None])[0]
        if alone is None:
            continue
        enough = [mean for mean in cascade if mean.accuracy >= alone.accuracy]
        if not enough:
            lines.append(f"- {named}: at no budget the expert's accuracy.")
            continue
        least = min(enough, key=lambda mean: mean.calls)
        saved = 100 * (1 - least.calls / alone.calls)
        recall = ""
        if least.recall is not None and alone.recall is not None:
            recall = f", but recall {least.recall:.1f} where the expert has {alone.recall:.1f}"
        lines.append(
            f"- {named}: the expert's accuracy with {saved:.0f} % of its calls saved"
            f" ({least.accuracy:.1f}, expert {alone.accuracy:.1f}){recall}."
        )
    return lines


def _table(stream: Stream, expert: str, found: Found) -> str:
    paper = TABLE[stream.name, expert]
    alone, alone_recall = ALONE[stream.name, expert]
    head = [
        "method",
        "calls",
        "here",
        "paper",
        *([stream.recall, "paper"] if stream.recall else []),
    ]
    rows = []
    for levels, methods_found in found.items():
        for method, means in methods_found.items():
            if method == "expert":
                continue
            for k, mean in enumerate(means):
                if mean is None:
                    continue
                theirs = paper.get(method)
                rows.append(
                    [
                        f"{method}, {levels}" if levels != "linear" else method,
                        f"{mean.calls:,.0f} of {stream.budgets[k]:,}",
                        f"{mean.accuracy:.1f} ± {mean.spread:.1f}",
                        _cell(theirs.accuracy[k] if theirs else None),
                        *([_cell(mean.recall), _recall(theirs, k)] if stream.recall else []),
                    ]
                )
    if (means := found.get("linear", {}).get("expert")) and (mean := means[0]) is not None:
        whole = [f"{mean.accuracy:.1f}", f"{alone:.1f}"]
        recall = [_cell(mean.recall), _cell(alone_recall)] if stream.recall else []
        rows.append(["expert alone", f"{mean.calls:,.0f}", *whole, *recall])
    return _markdown(head, rows)


def _recall(row: Row | None, k: int) -> str:
    return _cell(row.recall[k] if row and row.recall else None)


def _cell(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _paper_runs(stream: Stream, expert: str, found: Found) -> list[LearnedRun]:
    """The paper's cascade as points of the figure."""
    items = next(
        mean.runs[0].items
        for rows in found.values()
        for row in rows.values()
        for mean in row
        if mean
    )
    rows = TABLE[stream.name, expert]["cascade"]
    return [
        LearnedRun(
            name="paper",
            method="cascade of the paper",
            labels=[],
            items=items,
            accuracy=accuracy / 100,
            levels=[LevelFigures(name="expert", answered=0, runs=calls, flops=None, seconds=0.0)],
        )
        for calls, accuracy in zip(stream.budgets, rows.accuracy, strict=True)
    ]


def _drawn(found: Found) -> list[LearnedRun]:
    """Means over seeds, as points of the figure; calls over the items that are measured."""
    measured = min(
        mean.runs[0].items for rows in found.values() for mean in rows["cascade"] if mean
    )
    return [
        msgspec.structs.replace(
            mean.runs[0],
            items=measured,
            method=f"{method}, {levels}" if levels != "linear" else method,
            accuracy=mean.accuracy / 100,
        )
        for levels, rows in found.items()
        for method, means in rows.items()
        for mean in means
        if mean is not None
    ]


def _costs(courses: Mapping[str, LearnedRun]) -> str:
    rows = [
        [
            title if k == 0 else "",
            level.name,
            f"{level.runs + level.learning_runs:,}",
            f"{level.updates:,}",
            _NONE if level.flops is None else count(level.flops + level.learning_flops),
            _NONE if level.flops is None else f"{level.seconds + level.learning_seconds:,.0f}",
        ]
        for title, run in courses.items()
        for k, level in enumerate(run.levels)
    ]
    return _markdown(["stream", "level", "runs", "updates", "FLOPs", "s"], rows)


def _audits(courses: Mapping[str, LearnedRun]) -> str:
    rows = []
    for title, run in courses.items():
        if run.agreement is None:
            continue
        rows.append(
            [
                title,
                f"{run.audited:,}",
                _cell(None if run.agreement.estimate is None else 100 * run.agreement.estimate),
                f"{100 * run.agreement.low:.1f} to {100 * run.agreement.high:.1f}",
                ", ".join(f"{at:,}" for at in run.alarms) or "none",
            ]
        )
    return _markdown(["stream", "audited", "agreement", "interval", "alarms"], rows)


def _shifted(
    settings: Settings, name: str, expert: str, levels: Sequence[Levels]
) -> list[LearnedRun]:
    """Those that are there, with the most levels."""
    for one in reversed(levels):
        case = Case(name, expert, 0, one, "cascade")
        found = []
        for seed in settings.seeds:
            with suppress(MissingError):
                again = case._replace(seed=seed)
                found.append(audited(settings, again, shifted=True, make=False))
        if found:
            return found
    return []


def _shifts(shifted: Mapping[str, Sequence[LearnedRun]]) -> str:
    rows = []
    for title, runs in shifted.items():
        for run in runs:
            middle = run.items // 2
            after = [at for at in run.alarms if at > middle]
            until = next((m for m in reversed(run.moments) if m.items <= middle), run.moments[0])
            rows.append(
                [
                    title,
                    f"{len(run.alarms) - len(after)}",
                    f"{after[0] - middle:,}" if after else "never",
                    f"{until.calls:,}",
                    f"{run.calls - until.calls:,}",
                    f"{_kept(run, middle):,}",
                ]
            )
    head = ["stream", "before", "delay", "calls before", "after", "kept after"]
    return _markdown(head, rows)


def _kept(run: LearnedRun, middle: int) -> int:
    """Answers of levels in the second half."""
    return sum(
        answered
        for moment in run.moments
        if moment.items > middle
        for name, answered in moment.by.items()
        if name != EXPERT
    )


def _shapes(shapes: Sequence[ShapeFigures]) -> str:
    rows = [
        [
            one.shape,
            f"{one.missed} of {STREAMS_COUNTED}",
            f"{100 * one.width:.1f}",
            f"{100 * one.fixed_width:.1f}",
        ]
        for one in shapes
    ]
    return _markdown(["agreement", "missed", "width", "at one time"], rows)


def _detection(shapes: Sequence[ShapeFigures]) -> str:
    rows = [
        [
            one.shape,
            f"{one.false_alarms}",
            _delay(one.delay),
            _delay(one.late_delay),
            f"{one.unnoticed}" if one.delay is not None else _NONE,
        ]
        for one in shapes
    ]
    return _markdown(["agreement", "false", "delay", "90 %", "unnoticed"], rows)


def _delay(items: float | None) -> str:
    return _NONE if items is None else f"{items:,.0f}" if items < float("inf") else "never"


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
