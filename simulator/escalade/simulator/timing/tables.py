"""A report of delays as people read it; knows no terminal."""

from __future__ import annotations

from escalade.simulator.formats import Cell, TextTable, nominal_seconds, seconds
from escalade.simulator.timing.report import RESOLVED_AT, ClockReport, DelayRow, Driver

_TITLES: dict[Driver, str] = {
    "proxy": "live proxy before a gRPC server: a call's round trip",
    "calls": "gRPC calls in process: a call's round trip",
    "kernel": "real packets, of namespaces and netem: a call's round trip",
    "wait": "how the live proxy waits for a moment",
    "sleep": "how `escalade load` waits until a request is due",
    "virtual": "virtual time",
}
NOT_RESOLVABLE = "not resolvable"
# Less than this is how floats add up.
_ROUNDING_S = 1e-9


def lines_of(report: ClockReport) -> list[str]:
    """What the figures depend on, and which delays cannot be told from none."""
    lines = [
        f"{report.machine}, {report.cores} cores, Python {report.python}; load"
        f" {report.load_before:.1f} before, {report.load_after:.1f} after; the clock's steps are"
        f" {nominal_seconds(report.resolution_s)}",
        "achieved: with the delay, less the median without it; residual: of its median what was"
        " not asked, with a 95% interval",
    ]
    for driver in _TITLES:
        lost = [row for row in report.rows if row.driver == driver and not row.resolvable]
        if lost:
            asked = ", ".join(nominal_seconds(row.asked_s) for row in lost)
            lines.append(
                f"{driver}: {asked} cannot be resolved: less than {RESOLVED_AT:g} interquartile"
                " ranges of the same without a delay"
            )
    if report.kernel_lacks:
        lines.append(f"kernel: not on this machine: {report.kernel_lacks}")
    return lines


def tables_of(report: ClockReport) -> list[TextTable]:
    """One table for each driver that was timed."""
    head = ["asked", "calls", "without, p50", "IQR", "achieved, p50", "p99", "residual", "95%"]
    found = {
        driver: [_cells(row) for row in report.rows if row.driver == driver] for driver in _TITLES
    }
    return [TextTable(_TITLES[driver], head, rows) for driver, rows in found.items() if rows]


def _cells(row: DelayRow) -> list[Cell]:
    found = [
        nominal_seconds(row.asked_s),
        str(row.calls),
        seconds(row.baseline_p50_s),
        seconds(row.baseline_iqr_s),
    ]
    if not row.resolvable:
        return [Cell(text) for text in (*found, NOT_RESOLVABLE, "", "", "")]
    interval = f"{_signed(row.residual_low_s)} to {_signed(row.residual_high_s)}"
    found += [seconds(row.achieved_p50_s), seconds(row.achieved_p99_s)]
    return [Cell(text) for text in (*found, _signed(row.residual_s), interval)]


def _signed(value_s: float) -> str:
    if abs(value_s) < _ROUNDING_S:
        return nominal_seconds(0.0)
    return ("-" if value_s < 0 else "+") + seconds(abs(value_s))
