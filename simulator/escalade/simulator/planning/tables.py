"""A plan as people read it: a few lines and two tables; knows no terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from escalade.simulator.formats import Cell, TextTable, nominal_seconds, percent, seconds
from escalade.simulator.formats import three_digits as number
from escalade.simulator.planning.planned import Bound, Figure, Figures, Plan

_NONE = "\N{EN DASH}"
_NAMES = {
    "p50_s": "p50",
    "p95_s": "p95",
    "mean_s": "mean",
    "quality": "quality, of the last tier's",
    "accuracy": "right",
    "degraded": "degraded",
    "calls": "calls to the last tier",
    "money": "money a query",
    "joules": "J a query, of the device",
}
_LEAST = {"errors": "wrong answers", "p95": "the 95th percentile", "mean": "the mean latency"}


def lines_of(plan: Plan) -> list[str]:
    """Whether there are such thresholds, which, and how sure that is."""
    gates = ", ".join(
        f"{tier} {tau:.6g}" for tier, tau in zip(plan.tiers, plan.thresholds, strict=False)
    )
    least = _LEAST.get(plan.minimised, plan.minimised)
    by = f"of {plan.tried:,} choices, on {plan.chosen_by:,} queries"
    if plan.met:
        lines = [f"thresholds that keep every bound, with the least of {least}: {gates} ({by})"]
    else:
        lines = [f"no thresholds keep every bound; the nearest: {gates} ({by})"]
    answers = ", ".join(
        f"{tier} {percent(share)}" for tier, share in zip(plan.tiers, plan.answered, strict=True)
    )
    lines.append(f"answers: {answers}")
    if plan.met and not plan.confirmed:
        lines.append(
            f"the other {plan.confirmed_by:,} queries do not confirm it: choose a goal with some"
            " room, or record more queries"
        )
    return [*lines, *plan.notes]


def tables_of(plan: Plan) -> list[TextTable]:
    """The bounds, and what else the choice does beside the last tier alone."""
    other = f"on {plan.confirmed_by:,} other queries"
    bounds = TextTable(
        f"The goal, {other}",
        ["bound", "network", "limit", "found", "95%", "kept"],
        [[Cell(text) for text in _bound(one)] for one in plan.bounds],
    )
    rows = [
        [Cell(text) for text in cells]
        for cells in map(_figures, itertools.cycle(("cascade", "last tier alone")), _pairs(plan))
    ]
    head = ["", "network", "p50", "p95", "mean", "calls", "right", "money a query"]
    if any(one.degraded is not None for one in plan.figures):
        head.append("degraded")
        for cells, one in zip(rows, _pairs(plan), strict=True):
            cells.append(Cell(_maybe(one.degraded, percent)))
    if any(one.joules is not None for one in plan.figures):
        head.append("J a query")
        for cells, one in zip(rows, _pairs(plan), strict=True):
            cells.append(Cell(_maybe(one.joules, number)))
    return [bounds, TextTable(f"What that does, {other}", head, rows)]


def _pairs(plan: Plan) -> list[Figures]:
    """Of each network the cascade's, then those of the last tier alone."""
    return [one for pair in zip(plan.figures, plan.alone, strict=True) for one in pair]


def _bound(one: Bound) -> list[str]:
    shown, limit = _shown(one.quantity), _shown(one.quantity, nominal=True)
    sure = "surely" if one.surely else "yes"
    return [
        _NAMES[one.quantity],
        one.network,
        f"{'at least' if one.at_least else 'at most'} {limit(one.limit)}",
        shown(one.found.value),
        f"{shown(one.found.low)} to {shown(one.found.high)}",
        sure if one.kept else "no",
    ]


def _shown(quantity: str, *, nominal: bool = False) -> Callable[[float], str]:
    if quantity.endswith("_s"):
        return nominal_seconds if nominal else seconds
    return number if quantity in {"money", "joules"} else percent


def _figures(name: str, one: Figures) -> list[str]:
    return [
        name,
        one.network,
        *(seconds(figure.value) for figure in (one.p50_s, one.p95_s, one.mean_s)),
        percent(one.calls.value),
        _maybe(one.accuracy, percent),
        _maybe(one.money, number),
    ]


def _maybe(figure: Figure | None, shown: Callable[[float], str]) -> str:
    return _NONE if figure is None else shown(figure.value)
