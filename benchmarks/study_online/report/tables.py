"""Tables of accuracy, of orders and of costs; knows no interval and no alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.study_online.report.means import Found, Mean, Pair, Reordered
from benchmarks.study_online.report.paper import ALONE, ORDERS, TABLE
from benchmarks.study_online.streams import EXPERTS, Shift

from escalade.simulator.formats import count
from escalade.simulator.learning import LearnedRun

#: Where there is no number.
NONE = "\N{EN DASH}"
_ORDERS = {"": "drawn", "length": "short ones first", "comedy": "comedy last"}


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; numbers stand at the right."""
    names = list(head)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: float | None) -> str:
    """A number, to a tenth."""
    return NONE if value is None else f"{value:.1f}"


def methods_table(pair: Pair, found: Found) -> str:
    """Every method at every budget, beside the paper's."""
    stream, paper = pair.stream, TABLE[pair.stream.name, pair.expert]
    head = [
        "method",
        "calls",
        "here",
        "paper",
        *([stream.recall, "paper"] if stream.recall else []),
    ]
    rows = []
    for levels, methods in found.items():
        for method, means in methods.items():
            theirs = paper.get(method)
            for k, mean in enumerate(means):
                if mean is None or method == "expert":
                    continue
                recall = theirs.recall[k] if theirs and theirs.recall else None
                rows.append(
                    [
                        f"{method}, {levels}" if levels != "linear" else method,
                        f"{mean.calls:,.0f} of {stream.budgets[k]:,}",
                        _accuracy(mean),
                        cell(theirs.accuracy[k] if theirs else None),
                        *([cell(mean.recall), cell(recall)] if stream.recall else []),
                    ]
                )
    if (means := found.get("linear", {}).get("expert")) and (mean := means[0]) is not None:
        theirs_alone, recall = ALONE[stream.name, pair.expert]
        numbers = [f"{mean.accuracy:.1f}", f"{theirs_alone:.1f}"]
        numbers += [cell(mean.recall), cell(recall)] if stream.recall else []
        rows.append(["expert alone", f"{mean.calls:,.0f}", *numbers])
    return markdown(head, rows)


def _accuracy(mean: Mean) -> str:
    spread = "" if mean.spread is None else f" ± {mean.spread:.1f}"
    return f"{mean.accuracy:.1f}{spread}"


def orders_table(found: Mapping[str, Mapping[str, Mapping[Shift, Reordered]]]) -> str:
    """Each expert's cascades in other orders, beside table 2 of the paper.

    Args:
        found: by expert and levels.
    """
    rows = []
    for expert, levels_found in found.items():
        for levels, orders in levels_found.items():
            title, base = EXPERTS[expert][0], orders[""]
            named = title if levels == "linear" else f"{title}, {levels}"
            for order, mean in orders.items():
                theirs = ORDERS[expert][order]
                here, paper = f"{mean.accuracy:.1f}", f"{theirs:.1f}"
                if order:
                    here = f"{mean.accuracy - base.accuracy:+.1f}"
                    paper = f"{theirs - ORDERS[expert]['']:+.1f}"
                first = "" if order else named
                rows.append([first, _ORDERS[order], f"{mean.calls:,.0f}", here, paper])
    return markdown(["expert", "order", "calls", "here", "paper"], rows)


def costs_table(courses: Mapping[str, LearnedRun]) -> str:
    """Every model run of one cascade on each stream, for answers and for learning."""
    rows = [
        [
            title if k == 0 else "",
            level.name,
            f"{level.runs + level.learning_runs:,}",
            f"{level.updates:,}",
            NONE if level.flops is None else count(level.flops + level.learning_flops),
            NONE if level.flops is None else f"{level.seconds + level.learning_seconds:,.0f}",
        ]
        for title, run in courses.items()
        for k, level in enumerate(run.levels)
    ]
    return markdown(["stream", "level", "runs", "updates", "FLOPs", "s"], rows)
