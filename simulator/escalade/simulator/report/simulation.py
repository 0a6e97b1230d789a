"""Writes a simulation as one page; knows no formula of its own."""

from __future__ import annotations

from pathlib import Path

from escalade.simulator.formats import nominal_seconds
from escalade.simulator.frames import Frame, rows_where
from escalade.simulator.network import Network
from escalade.simulator.paper import simulation_figures
from escalade.simulator.replay import (
    GRPC_BYTES_DOWN,
    GRPC_BYTES_UP,
    Simulation,
    answers_tables,
    curve_table,
    curves_of,
    degraded_tables,
    distribution_table,
    frames_of,
    latency_tables,
    lede,
    spending_tables,
    traces_table,
)
from escalade.simulator.report.charts import Chart, as_json, chart, csv_link, policy
from escalade.simulator.report.explorer import explorer_of
from escalade.simulator.report.maps import cascade_map
from escalade.simulator.report.page import write_page

_SCRIPTS = ("formats.js", "explorer.js", "printing.js")


def write_simulation_page(path: Path, simulation: Simulation) -> None:
    """Write the page of a finished simulation; the same simulation gives the same page.

    Raises:
        DataError: it cannot be written.
    """
    summary = simulation.summary
    movable = all(one.course.setting.thresholds_alone for _, one in simulation.replays)
    explorer = explorer_of(simulation) if movable else None
    scripts = _SCRIPTS if movable else _SCRIPTS[1:]
    frames = {frame.name: frame for frame in frames_of(simulation)}
    profiles = dict.fromkeys(
        profile for network in simulation.networks for profile in network.profiles
    )
    curve, *latencies = _charts(simulation, frames)
    values: dict[str, object] = {
        "names": [row.name for row in summary.traces],
        "lede": lede(summary),
        "policy": policy(*scripts),
        "scripts": scripts,
        "explorer": explorer,
        "curve": curve,
        "maps": [cascade_map(simulation, row) for row in summary.traces],
        "answers": answers_tables(summary),
        "answers_csv": [(name, csv_link(frames[name])) for name in ("points", "tiers")],
        "notes": summary.notes,
        "latencies": latencies,
        "latency_tables": [
            *latency_tables(summary),
            *degraded_tables(summary),
            *spending_tables(summary),
        ],
        "latency_csv": csv_link(frames["latency"]),
        "traces": [traces_table(row) for row in summary.traces],
        "framing_up": GRPC_BYTES_UP,
        "framing_down": GRPC_BYTES_DOWN,
        "seed": summary.seed,
        "sources": [(profile.name, profile.source) for profile in profiles],
    }
    if explorer is not None:
        values["data"] = as_json(explorer)
    write_page(path, "simulation.html", values)


def _charts(simulation: Simulation, frames: dict[str, Frame]) -> list[Chart | None]:
    """The curve, or None where answers were not judged; and latency on each network."""
    figures = simulation_figures(simulation)
    found: list[Chart | None] = [None]
    traces = simulation.summary.traces
    if "curve" in figures:
        curves = curves_of(simulation)
        several = len(traces) > 1
        tables = {
            f"curve-table-{place}": curve_table(row, curves[row.name], several=several)
            for place, row in enumerate(traces)
        }
        caption = "From no query that goes on to the last tier (left) to all of them (right)."
        figure = figures["curve"]
        found[0] = chart("curve", "Quality and calls", figure, caption, tables, frames["curve"])
    for k, network in enumerate(simulation.networks):
        name = f"latency-{k}"
        tables = {f"{name}-table": distribution_table(simulation, network.name)}
        numbers = rows_where(frames["distribution"], network=network.name)
        found.append(chart(name, _title(network), figures[name], "", tables, numbers))
    return found


def _title(network: Network) -> str:
    """Its name and the round trips of its profiles."""
    times = [nominal_seconds(profile.rtt_ms / 1e3) for profile in network.profiles]
    return f"{network.name}, RTT {', '.join(times)}" if times else network.name
