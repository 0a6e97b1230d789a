"""`escalade proxy` and `escalade simulate`: networks, live and in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import JsonOption, SeedOption

if TYPE_CHECKING:
    from escalade.simulator.replay import Summary

_DEFAULT_PROFILES = ["coe-1us", "coe-10ms", "coe-100ms", "coe-1s"]


def proxy(
    profile: Annotated[str, typer.Option("--profile", help="Name of a network, e.g. coe-100ms.")],
    upstream: Annotated[str, typer.Option("--upstream", help="HOST:PORT of the real server.")],
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT or :PORT; port 0 takes a free one.")
    ] = "127.0.0.1:0",
    stats: Annotated[
        Path | None, typer.Option("--stats", help="Keep byte and connection counts in this file.")
    ] = None,
    seed: SeedOption = 1,
) -> None:
    """Put a network's delay in the path of live traffic until SIGTERM or Ctrl-C."""
    from escalade.cli.output import note_console
    from escalade.simulator.network import get_profile, run_proxy

    network = get_profile(profile)
    notes = note_console()
    run_proxy(
        network,
        listen,
        upstream,
        seed=seed,
        on_ready=lambda host, port: notes.print(
            f"{profile} ({network.rtt_ms:g} ms round trip) to {upstream} on {host}:{port}"
        ),
        stats_path=stats,
    )


def simulate(
    traces: Annotated[list[Path], typer.Argument(help="Traces of `escalade record`.")],
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", help="Name of a network; may be given again."),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option("--threshold", help="Replay under this one; may be given again."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The report (HTML).")] = Path("report.html"),
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Replay traces over named networks in virtual time and write one HTML report."""
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.simulator.replay import simulate as simulate_traces

    # What draws is loaded before the work, so that it cannot fail after.
    from escalade.simulator.report import write_simulation_page

    with progress_bar("replaying") as tick:
        study = simulate_traces(
            traces,
            list(profile or _DEFAULT_PROFILES),
            list(threshold or []),
            seed=seed,
            progress=tick,
        )
    write_simulation_page(out, study)
    summary = study.summary
    if json:
        print_json(summary)
    else:
        show_summary(summary)
        result_console().print(f"report: {out}")


def show_summary(summary: Summary) -> None:
    """The tables of a simulation, on stdout."""
    from rich.table import Table

    from escalade.cli.output import result_console

    console = result_console()
    for row in summary.points:
        point = row.point
        console.print(
            f"{row.trace}: threshold {point.threshold:.4f}, deferral rate"
            f" {point.deferral_rate:.1%}, accuracy {point.quality:.1%}, calls saved"
            f" {row.calls_saved:.1%}, bytes saved {row.bytes_saved:.1%}"
        )
    table = Table("trace", "profile", "cascade p50", "p95", "cloud only p50", "p95")
    for run in summary.profiles:
        times = (run.cascade.p50_s, run.cascade.p95_s, run.cloud_only.p50_s, run.cloud_only.p95_s)
        table.add_row(run.trace, run.profile, *(f"{seconds * 1e3:.1f} ms" for seconds in times))
    console.print(table, soft_wrap=False)
    for note in summary.notes:
        console.print(note)
