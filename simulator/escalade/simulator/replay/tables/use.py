"""What devices and links spend, and what deadlines cost, as tables of text; knows no terminal."""

from __future__ import annotations

from escalade.simulator.devices import J_PER_WH
from escalade.simulator.formats import Cell, TextTable, count, percent, seconds
from escalade.simulator.formats import three_digits as number
from escalade.simulator.replay.summary import DegradedRow, NetworkRow, Summary

_NONE = "\N{EN DASH}"

#: Queries that a price is said for: that of one is a number of many zeros.
_MILLION = 1e6


def spending_tables(summary: Summary) -> list[TextTable]:
    """For each trace, what the device and the links spend on a query, where that is known."""
    found = []
    for trace in summary.traces:
        own = [row for row in summary.networks if row.trace == trace.name]
        if not any(_is_spent(row) for row in own):
            continue
        head = ["network", "threshold", "J a query", *(f"link to {x.tier}" for x in own[0].links)]
        priced = any(row.link_money for row in own)
        if priced:
            head.append(f"{trace.currency} a million queries, links")
        rows = [
            [
                Cell(row.network),
                _thresholds(row),
                _energy(row, summary.battery_wh),
                *(Cell(_NONE if x.joules is None else f"{number(x.joules)} J") for x in row.links),
                *([_of_links(row)] if priced else []),
            ]
            for row in own
        ]
        found.append(TextTable(f"{trace.name}: energy, and the price of links", head, rows))
    return found


def degraded_tables(summary: Summary) -> list[TextTable]:
    """For each trace, what a deadline of links does, where there is one."""
    found = []
    for trace in summary.traces:
        head = ["network", "threshold", "degraded", "right", "right later", "later: p50", "p95"]
        head.append(f"no answer, {trace.tiers[-1].name} only")
        rows = [
            [
                Cell(row.network),
                _thresholds(row),
                Cell(percent(one.share)),
                Cell(_maybe(one.accuracy)),
                Cell(_maybe(one.late_accuracy)),
                *(Cell(_NONE if t is None else seconds(t)) for t in _later(one)),
                Cell(percent(one.last_only_lost)),
            ]
            for row in summary.networks
            if row.trace == trace.name and (one := row.degraded) is not None
        ]
        if rows:
            found.append(TextTable(f"{trace.name}: deadline of a link", head, rows))
    return found


def _later(row: DegradedRow) -> tuple[float | None, float | None]:
    return (None, None) if row.late is None else (row.late.p50_s, row.late.p95_s)


def _is_spent(row: NetworkRow) -> bool:
    known = (row.joules, row.link_money, *(link.joules for link in row.links))
    return any(one is not None for one in known)


def _energy(row: NetworkRow, battery_wh: float | None) -> Cell:
    if row.joules is None:
        return Cell(_NONE)
    detail = f"last only {number(row.joules.last_only)}"
    if battery_wh is not None and row.joules.cascade:
        detail += f"; {count(battery_wh * J_PER_WH / row.joules.cascade)} queries a charge"
    return Cell(number(row.joules.cascade), detail)


def _of_links(row: NetworkRow) -> Cell:
    if row.link_money is None:
        return Cell(_NONE)
    cascade, last = (_MILLION * x for x in (row.link_money.cascade, row.link_money.last_only))
    return Cell(count(cascade), f"last only {count(last)}")


def _thresholds(row: NetworkRow) -> Cell:
    return Cell(", ".join(f"{tau:.4g}" for tau in row.thresholds))


def _maybe(share: float | None) -> str:
    return _NONE if share is None else percent(share)
