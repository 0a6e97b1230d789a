"""A fleet's run as people read it: a few lines and tables; knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator

from escalade.edge.base import counted
from escalade.simulator.devices import energy_tables
from escalade.simulator.fleet.replicas import RUNS, Capacity
from escalade.simulator.fleet.report import FleetReport, GatewayRow, GroupRow, LatencyPercentiles
from escalade.simulator.formats import (
    Cell,
    TextTable,
    count,
    nominal_seconds,
    percent,
    seconds,
    three_digits,
)

_NONE = "\N{EN DASH}"


def lines_of(report: FleetReport) -> list[str]:
    """What there was, and what it cost."""
    cloud, all_of = report.cloud, report.together
    lines = [
        f"{counted(all_of.devices, 'device', ',')}, {count(all_of.queries)} queries in"
        f" {nominal_seconds(report.seconds - report.warm_up_s)} (seed {report.seed})"
    ]
    if all_of.latency is not None:
        took = all_of.latency
        lines.append(
            f"answers take {seconds(took.p50)} (median), {seconds(took.p99)} (p99),"
            f" {seconds(took.p99_9)} (p99.9)"
        )
    lines.append(
        f"cloud: {count(cloud.attempts)} attempts, {count(cloud.refused)} refused;"
        f" {percent(cloud.utilisation)} of its slots in use;"
        f" {three_digits(cloud.replica_hours)} replica hours"
    )
    lines += [line for one in report.gateways for line in _of_gateways(one)]
    if cloud.cost:
        lines.append(
            f"cost {three_digits(cloud.cost)}, {three_digits(cloud.cost_per_million)} for a million"
            " queries"
        )
    return lines + report.notes


def _of_gateways(row: GatewayRow) -> Iterator[str]:
    yield (
        f"{row.name}: {counted(row.gateways, 'gateway', ',')}, {count(row.answered)} queries"
        f" answered; {percent(row.utilisation)} of their slots in use"
    )
    if row.refused or row.past:
        yield (
            f"{row.name}: {count(row.attempts)} attempts, {count(row.refused)} refused;"
            f" {count(row.past)} queries go past to the cloud, {count(row.turned_away)} keep their"
            " devices' answers"
        )


def tables_of(report: FleetReport) -> list[TextTable]:
    """Who answered, how long it took, what it drew if that is told, and how it went over time."""
    rows = [*report.groups, report.together] if len(report.groups) > 1 else report.groups
    return [_outcomes(rows), _latencies(rows), *energy_tables(report.energy), _timeline(report)]


def capacity_lines(capacity: Capacity) -> list[str]:
    """How many replicas, and how sure that is."""
    price = f", {three_digits(capacity.price_per_hour)} an hour" if capacity.price_per_hour else ""
    return [
        f"{_replicas(capacity.most)} 99 of 100 queries within {seconds(capacity.p99_s)} in all"
        f" of {RUNS} runs (the slowest: {seconds(capacity.p99_at_most_s)}){price}",
        f"what a run needs: median {capacity.median}, 97% interval {capacity.least} to"
        f" {capacity.most}",
        *capacity.notes,
    ]


def capacity_tables(capacity: Capacity) -> list[TextTable]:
    """What its devices draw, if that is told."""
    return energy_tables(capacity.energy)


def _replicas(many: int) -> str:
    return "1 replica answers" if many == 1 else f"{many} replicas answer"


def _outcomes(rows: list[GroupRow]) -> TextTable:
    def share(part: int, row: GroupRow) -> Cell:
        return Cell(percent(part / row.queries) if row.queries else _NONE)

    through = any(row.at_gateway for row in rows)
    return TextTable(
        "Who answered",
        [
            *("group", "devices", "queries", "device"),
            *(["gateway"] if through else []),
            *("cloud", "degraded", "dropped"),
        ],
        [
            [
                Cell(row.name),
                Cell(f"{row.devices:,}"),
                Cell(count(row.queries)),
                share(row.answered, row),
                *([share(row.at_gateway, row)] if through else []),
                *(share(part, row) for part in (row.deferred, row.degraded, row.dropped)),
            ]
            for row in rows
        ],
    )


def _latencies(rows: list[GroupRow]) -> TextTable:
    def cells(found: LatencyPercentiles | None) -> list[Cell]:
        if found is None:
            return [Cell(_NONE)] * 6
        values = (found.mean, found.p50, found.p90, found.p95, found.p99, found.p99_9)
        return [Cell(seconds(value)) for value in values]

    def lines(row: GroupRow) -> Iterator[list[Cell]]:
        yield [Cell(row.name), *cells(row.latency)]
        if through:
            yield [Cell(f"{row.name}, gateway's"), *cells(row.latency_at_gateway)]
        yield [Cell(f"{row.name}, cloud's"), *cells(row.latency_deferred)]

    through = any(row.at_gateway for row in rows)
    return TextTable(
        "Latency",
        ["answers", "mean", "p50", "p90", "p95", "p99", "p99.9"],
        [line for row in rows for line in lines(row)],
    )


def _timeline(report: FleetReport) -> TextTable:
    near = any(row.refused_near_per_s for row in report.timeline)
    # Rates may be broken before their slash, so that all columns have room on 80 characters.
    return TextTable(
        "Over time",
        [
            "from",
            "queries /s",
            "to cloud /s",
            "refused /s",
            "degraded /s",
            "replicas",
            "in use",
            "waiting",
            *(["refused at gateways /s"] if near else []),
        ],
        [
            [
                Cell(nominal_seconds(row.from_s)),
                *(
                    Cell(three_digits(value))
                    for value in (
                        row.queries_per_s,
                        row.attempts_per_s,
                        row.refused_per_s,
                        row.degraded_per_s,
                        row.replicas,
                    )
                ),
                Cell(percent(row.utilisation)),
                Cell(three_digits(row.waiting)),
                *([Cell(three_digits(row.refused_near_per_s))] if near else []),
            ]
            for row in report.timeline
        ],
    )
