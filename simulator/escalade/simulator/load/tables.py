"""A run as people read it: a few lines and a table; knows no terminal."""

from __future__ import annotations

from escalade.edge.base import counted
from escalade.simulator.formats import (
    Cell,
    TextTable,
    count,
    nominal_seconds,
    percent,
    seconds,
    three_digits,
)
from escalade.simulator.load.fitting import Fit
from escalade.simulator.load.loaded_fit import LoadedFit
from escalade.simulator.load.report import LoadReport, Percentiles
from escalade.simulator.timing import lines_of, tables_of


def shown(report: LoadReport | Fit | LoadedFit) -> tuple[list[str], list[TextTable]]:
    """What came of a run: lines, and tables; and of the machine's delays where they were timed."""
    match report:
        case LoadReport():
            lines, table = _run_lines(report), _run_table(report)
        case Fit():
            lines, table = _fit_lines(report), _fit_table(report)
        case LoadedFit():
            lines, table = _loaded_fit_lines(report), _loaded_fit_table(report)
    if report.clock is None:
        return lines, [table]
    return [*lines, *lines_of(report.clock)], [table, *tables_of(report.clock)]


def _run_lines(report: LoadReport) -> list[str]:
    plan = report.plan
    if plan.rate is None:
        clients = "1 client that asks" if plan.clients == 1 else f"{plan.clients} clients that ask"
        how = f"closed loop, {clients} again when answered"
    else:
        how = f"open loop, {plan.rate:g} requests/s ({plan.arrivals}, seed {plan.seed})"
    lines = [
        f"{report.model} ({report.engine}) on {report.address}: {how}",
        f"{counted(report.requests, 'request', ',')} in {seconds(report.seconds)}:"
        f" {report.answered:,} answered, {report.deadline_missed:,} not within"
        f" {nominal_seconds(plan.deadline_s)},"
        f" {sum(one.count for one in report.refused):,} refused",
        f"goodput {report.goodput_per_s:.4g} answers/s, {report.tokens_per_s:.4g} tokens/s;"
        f" {count(report.bytes_up)}B up, {count(report.bytes_down)}B down",
    ]
    if plan.rate is None:
        lines.append("a closed loop waits with the server, so that a stall counts once: see --rate")
    lines += [f"refused {one.count:,}: {one.reason}" for one in report.refused]
    return lines


def _run_table(report: LoadReport) -> TextTable:
    closed = report.plan.rate is None
    rows = (
        ("latency", report.latency),
        ("first token", report.first_token),
        ("between tokens", report.between_tokens),
        ("refusal", report.refusal),
        ("sent late", report.sent_late),
    )
    head = ["from when it was " + ("sent" if closed else "due"), "p50", "p90", "p99", "p99.9"]
    return TextTable(
        "",
        [*head, "max"],
        [[Cell(name), *_cells(found)] for name, found in rows if found is not None],
    )


def _fit_lines(fit: Fit) -> list[str]:
    """What a fleet's spec takes of a fit, and how far off it is."""
    return [
        f"an answer takes {seconds(fit.start_s)} and {seconds(fit.token_s)} for each token, and"
        f" {percent(fit.slowdown)} more for each query beside it (off by {percent(fit.error)})",
        *_cloud_table(fit),
    ]


def _cloud_table(fit: Fit | LoadedFit) -> list[str]:
    """In TOML, with what has calls of another server's trace, or of none, take this one's time."""
    return [
        "[cloud]",
        f"slots = {fit.slots}",
        f"slowdown = {three_digits(fit.slowdown)}",
        f"start_s = {three_digits(fit.start_s)}  # these two: not for a trace of this server,",
        f"token_s = {three_digits(fit.token_s)}  # which has its own seconds",
    ]


def _fit_table(fit: Fit) -> TextTable:
    """What was measured beside what the fit has in its place."""
    return TextTable(
        "",
        ["clients", "answers", "tokens", "measured", "fitted"],
        [
            [
                Cell(str(row.clients)),
                Cell(f"{row.answers:,}"),
                Cell(three_digits(row.tokens)),
                Cell(seconds(row.measured_s)),
                Cell(seconds(row.fitted_s)),
            ]
            for row in fit.rows
        ],
    )


def _loaded_fit_lines(fit: LoadedFit) -> list[str]:
    """What a fleet's spec takes of a fit at a load, and how far off it is."""
    return [
        f"an answer takes {seconds(fit.start_s)} and {seconds(fit.token_s)} for each token,"
        f" {percent(fit.slowdown)} more for each query beside it, and {seconds(fit.beside_s)} more"
        f" at {fit.rate:g} requests/s (off by {percent(fit.error)})",
        *_cloud_table(fit),
        f"beside_s = {three_digits(fit.beside_s)}",
    ]


def _loaded_fit_table(fit: LoadedFit) -> TextTable:
    """What was measured beside what the fit has in its place."""
    return TextTable(
        "",
        [f"of {counted(fit.answers, 'answer', ',')}", "measured", "fitted"],
        [
            [Cell(row.name), Cell(seconds(row.measured_s)), Cell(seconds(row.fitted_s))]
            for row in fit.rows
        ],
    )


def _cells(found: Percentiles) -> list[Cell]:
    return [
        Cell(seconds(value)) for value in (found.p50, found.p90, found.p99, found.p99_9, found.max)
    ]
