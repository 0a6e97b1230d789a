"""A plan as people read it: a few lines and tables; knows no terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from escalade.edge.base import counted
from escalade.simulator.devices import energy_tables
from escalade.simulator.formats import Cell, TextTable, count, nominal_seconds, percent, seconds
from escalade.simulator.formats import three_digits as number
from escalade.simulator.planning.planned import Bound, Deployment, Figure, NetworkFigures, Plan

_NONE = "\N{EN DASH}"
_NAMES = {
    "p50_s": "p50",
    "p95_s": "p95",
    "p99_s": "p99",
    "mean_s": "mean",
    "quality": "quality, of the last tier's",
    "accuracy": "right",
    "degraded": "degraded",
    "calls": "calls to the last tier",
    "money": "money a query",
    "joules": "J a query, of the device",
    "money_a_day": "money a day",
    "battery_share": "of the battery",
}
#: Columns that a table has where there is something to say: of what, and how it is written.
_WHERE_KNOWN: list[
    tuple[str, Callable[[NetworkFigures], Figure | None], Callable[[float], str]]
] = [
    (_NAMES["money_a_day"], lambda one: one.money_a_day, number),
    (_NAMES["degraded"], lambda one: one.degraded, percent),
    ("J a query", lambda one: one.joules, number),
    (_NAMES["battery_share"], lambda one: one.battery_share, percent),
]
_LEAST = {"errors": "wrong answers", "p95": "the 95th percentile", "mean": "the mean latency"}


def lines_of(plan: Plan) -> list[str]:
    """Whether there are such thresholds, which, and how sure that is."""
    found = ", ".join(
        f"{tier} {tau:.6g}" for tier, tau in zip(plan.tiers, plan.thresholds, strict=False)
    )
    least = _LEAST.get(plan.minimised, plan.minimised)
    what, by = "thresholds", f"of {plan.tried:,} choices, on {plan.chosen_by:,} queries"
    if (deployment := plan.deployment) is not None:
        what, found = "thresholds and replicas", f"{found}; {_replicas(deployment.replicas)}"
        by = f"of {plan.tried:,} choices, {deployment.tried} in the fleet, on {plan.chosen_by:,}"
        by += " queries"
    if plan.met:
        lines = [f"{what} that keep every bound, with the least of {least}: {found} ({by})"]
    else:
        lines = [f"no {what} keep every bound; the nearest: {found} ({by})"]
        lines += [f"it misses {one}" for one in _misses(plan)]
    answers = ", ".join(
        f"{tier} {percent(share)}" for tier, share in zip(plan.tiers, plan.answered, strict=True)
    )
    lines.append(f"answers: {answers}")
    if plan.met and not plan.confirmed:
        lines.append(
            f"the other {plan.confirmed_by:,} queries do not confirm it: choose a goal with some"
            " room, or record more queries"
        )
    return [*lines, *_deployed(plan.deployment), *plan.notes]


def tables_of(plan: Plan) -> list[TextTable]:
    """The bounds, and what else the choice does beside the last tier alone; and a deployment."""
    other = f"on {plan.confirmed_by:,} other queries"
    place, alone = ("network", "What that does")
    if plan.deployment is not None:
        place, alone = ("group", "Where nobody waits for another")
    bounds = TextTable(
        f"The goal, {other}",
        ["bound", place, "limit", "found", "95%", "kept"],
        [[Cell(text) for text in _bound(one)] for one in plan.bounds],
    )
    rows = [
        [Cell(text) for text in cells]
        for cells in map(_figures, itertools.cycle(("cascade", "last tier alone")), _pairs(plan))
    ]
    head = ["", place, "p50", "p95", "p99", "mean", "calls", "right", "money a query"]
    for name, figure_of, shown in _WHERE_KNOWN:
        if any(figure_of(one) is not None for one in plan.figures):
            head.append(name)
            for cells, one in zip(rows, _pairs(plan), strict=True):
                cells.append(Cell(_maybe(figure_of(one), shown)))
    tables = [bounds, TextTable(f"{alone}, {other}", head, rows)]
    if plan.deployment is not None:
        tables[1:1] = [_fleet(plan.deployment), *energy_tables(plan.deployment.energy)]
    return tables


def _deployed(deployment: Deployment | None) -> list[str]:
    """Replicas and what they cost, where there is a fleet."""
    if deployment is None:
        return []
    one = deployment
    lines = [
        f"{_replicas(one.replicas)} of {one.slots} slots each; what a run needs: median"
        f" {one.median}, 97% interval {one.least} to {one.most}",
        f"{number(one.queries_per_s)} queries a second, {number(one.calls_per_s)} calls to the"
        f" cloud, {percent(one.utilisation)} of its slots in use; as they arrive"
        f" {count(one.queries_a_day)} queries a day",
    ]
    if one.money_a_day:
        lines.append(
            f"{number(one.price_per_hour)} an hour for replicas, {number(one.replicas_a_day)} a day"
            + (
                ""
                if one.queries_cost_a_day is None
                else f"; with members and links {number(one.money_a_day)} a day"
            )
        )
    return lines


def _replicas(many: int) -> str:
    return counted(many, "replica", ",")


def _misses(plan: Plan) -> list[str]:
    """What the worst of the bounds is missed by, on the other queries."""
    one = max(plan.bounds, key=lambda bound: bound.missed_by)
    return [f"{_NAMES[one.quantity]}{_of(one)} by {percent(one.missed_by)}"] * (one.missed_by > 0)


def _of(bound: Bound) -> str:
    if bound.group is not None:
        return f" of {bound.group}"
    return "" if bound.network is None else f" on {bound.network}"


def _fleet(deployment: Deployment) -> TextTable:
    return TextTable(
        f"The deployment, on all queries (seed {deployment.seed})",
        ["group", "network", "devices", "mean", "p50", "p95", "p99", "degraded"],
        [
            [
                Cell(one.group),
                Cell(one.network or ""),
                Cell(f"{one.devices:,}"),
                *(
                    Cell(_NONE if value is None else seconds(value))
                    for value in (one.mean_s, one.p50_s, one.p95_s, one.p99_s)
                ),
                Cell(percent(one.degraded)),
            ]
            for one in deployment.groups
        ],
    )


def _pairs(plan: Plan) -> list[NetworkFigures]:
    """Of each network the cascade's, then those of the last tier alone."""
    return [one for pair in zip(plan.figures, plan.alone, strict=True) for one in pair]


def _bound(one: Bound) -> list[str]:
    shown, limit = _shown(one.quantity), _shown(one.quantity, nominal=True)
    sure = "surely" if one.surely else "yes"
    return [
        _NAMES[one.quantity],
        one.group or one.network or "together",
        f"{'at least' if one.at_least else 'at most'} {limit(one.limit)}",
        shown(one.found.value),
        f"{shown(one.found.low)} to {shown(one.found.high)}",
        sure if one.kept else "no",
    ]


def _shown(quantity: str, *, nominal: bool = False) -> Callable[[float], str]:
    if quantity.endswith("_s"):
        return nominal_seconds if nominal else seconds
    return number if quantity in {"money", "joules", "money_a_day"} else percent


def _figures(name: str, one: NetworkFigures) -> list[str]:
    return [
        name,
        one.group or one.network,
        *(seconds(figure.value) for figure in (one.p50_s, one.p95_s, one.p99_s, one.mean_s)),
        percent(one.calls.value),
        _maybe(one.accuracy, percent),
        _maybe(one.money, number),
    ]


def _maybe(figure: Figure | None, shown: Callable[[float], str]) -> str:
    return _NONE if figure is None else shown(figure.value)
