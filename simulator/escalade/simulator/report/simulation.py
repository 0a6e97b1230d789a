"""Writes a simulation as one page; knows no formula of its own."""

from __future__ import annotations

from pathlib import Path

from escalade.simulator.formats import nominal_seconds
from escalade.simulator.network import Network
from escalade.simulator.replay import (
    GRPC_BYTES_DOWN,
    GRPC_BYTES_UP,
    Simulation,
    answers_tables,
    latency_tables,
    lede,
    traces_table,
)
from escalade.simulator.report import simulation_figures as figures
from escalade.simulator.report.page import drawn, write_page


def write_simulation_page(path: Path, simulation: Simulation) -> None:
    """Write the page of a finished simulation; the same simulation gives the same page.

    Raises:
        DataError: it cannot be written.
    """
    summary = simulation.summary
    latencies = figures.latency_distributions(simulation)
    profiles = dict.fromkeys(
        profile for network in simulation.networks for profile in network.profiles
    )
    values: dict[str, object] = {
        "names": [row.name for row in summary.traces],
        "lede": lede(summary),
        "shares": drawn("shares", "", figures.answered_shares(summary)),
        "answers": answers_tables(summary),
        "notes": summary.notes,
        "latencies": [
            drawn(f"latency-{k}", _title(network), figure)
            for k, (network, figure) in enumerate(zip(simulation.networks, latencies, strict=True))
        ],
        "latency_tables": latency_tables(summary),
        "traces": [traces_table(row) for row in summary.traces],
        "framing_up": GRPC_BYTES_UP,
        "framing_down": GRPC_BYTES_DOWN,
        "seed": summary.seed,
        "sources": [(profile.name, profile.source) for profile in profiles],
    }
    write_page(path, "simulation.html", values)


def _title(network: Network) -> str:
    """Its name and the round trips of its profiles."""
    times = [nominal_seconds(profile.rtt_ms / 1e3) for profile in network.profiles]
    return f"{network.name}, RTT {', '.join(times)}" if times else network.name
