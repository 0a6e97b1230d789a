"""What the page says first, in sentences; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.study_ensembles.cascades import Bench, Cascade, Measured
from benchmarks.study_ensembles.report.costs import Prices, dollars
from benchmarks.study_ensembles.report.seeds import (
    Choose,
    Row,
    cheapest_as_good,
    gain,
    most_accurate,
    row_of,
)
from benchmarks.study_ensembles.report.tables import Against, accuracy, points
from benchmarks.study_ensembles.tasks import Task
from benchmarks.study_online.report.tables import markdown

BEST = "best single model"
_ENSEMBLE, _CONFIDENT = "cascade of ensembles", "confidence of single models"
_UNANIMOUS = 3
#: Share of calls of which less than a tenth more or less is not said.
_FEW = 0.01


def rows_of(found: Sequence[Bench]) -> dict[str, Row]:
    """Cascades that were chosen on validation queries, by how."""

    def compute(one: Measured) -> float:
        return one.compute

    def calls(one: Measured) -> float:
        return one.last_calls

    ways: dict[str, Choose] = {
        BEST: lambda bench: bench.best_single(),
        f"{_ENSEMBLE}, fewest calls": cheapest_as_good(Bench.all_agreeing, calls),
        f"{_ENSEMBLE}, least compute": cheapest_as_good(Bench.all_agreeing, compute),
        f"{_ENSEMBLE}, most accurate": most_accurate(Bench.all_agreeing),
        f"{_CONFIDENT}, fewest calls": cheapest_as_good(Bench.all_confident, calls),
        f"{_CONFIDENT}, least compute": cheapest_as_good(Bench.all_confident, compute),
        f"{_CONFIDENT}, most accurate": most_accurate(Bench.all_confident),
    }
    return {name: row_of(found, choose) for name, choose in ways.items()}


def findings(task: Task, found: Sequence[Bench], prices: Prices) -> list[str]:
    """Of one task."""
    rows = rows_of(found)
    best = rows[BEST]
    lines = []
    for kind in (_ENSEMBLE, _CONFIDENT):
        row = rows[f"{kind}, fewest calls"]
        lines.append(
            f"{task.title}, {kind}: {fewer_calls(row)} over the last link, at"
            f" {points(gain(row, best))} points beside the best single model ({best.title})."
        )
    row = rows[f"{_ENSEMBLE}, least compute"]
    ways = (lambda one: one.compute, lambda one: one.flops_published)
    all_ran, published = (_less(best.mean(way) / row.mean(way)) for way in ways)
    lines.append(
        f"{task.title}: at the best single model's validated accuracy a {_ENSEMBLE} computes"
        f" {all_ran} counting all that ran, {published} as published, at"
        f" {points(gain(row, best))} points."
    )
    if len({len(bench.sizes) for bench in found}) == 1:
        chain = row_of(found, whole)
        spent = dollars(chain, prices)
        lines.append(
            f"{task.title}: all sizes, three members that must agree:"
            f" {_less(spent.alone / spent.published)} money as published,"
            f" {_less(spent.alone / spent.counted)} counting all that ran, at"
            f" {points(gain(chain, best))} points."
        )
    return lines


def fewer_calls(row: Row) -> str:
    """Than if every query went over the last link."""
    share = row.mean(lambda one: one.last_calls)
    digits = 0 if share < _FEW else 1
    return f"{1 / share:,.{digits}f} times fewer calls" if share else "no call"


def by_task_table(found: Mapping[str, Sequence[Bench]]) -> str:
    """For each task by itself, calls over the last link at the best single model's accuracy."""
    cells = []
    for name, benches in found.items():
        rows = rows_of(benches)
        best = rows[BEST]
        for kind in (_ENSEMBLE, _CONFIDENT):
            row = rows[f"{kind}, fewest calls"]
            cells.append([name, accuracy(best), kind, fewer_calls(row), points(gain(row, best))])
    return markdown(["task", "best single", "", "last link", "beside it"], cells)


def question(found: Sequence[Against], equal: str) -> str:
    """What a user asks first, at as many or as much of something."""
    differences = [one.difference for one in found]
    better = sum(one.low > 0 for one in differences)
    worse = sum(one.high < 0 for one in differences)
    return (
        f"Agreement of several, or the confidence of one, at {equal}: of {len(found)} comparisons"
        f" agreement is right more often in {better} and less often in {worse}, counting those"
        " whose interval leaves out 0."
    )


def _less(times: float) -> str:
    return f"{times:.2g} times less" if times >= 1 else f"{1 / times:.2g} times more"


def whole(bench: Bench) -> Cascade:
    """All sizes, three members each that must all agree."""
    return bench.agreeing(bench.lower, _UNANIMOUS, 1.0)
