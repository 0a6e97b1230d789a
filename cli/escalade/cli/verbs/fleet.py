"""`escalade fleet`: a million devices before one cloud, in virtual time; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    DevicesOption,
    FiguresOption,
    JsonOption,
    ProfilesOption,
    ReportOption,
    SeedOption,
    TablesOption,
)


def fleet(
    spec: Annotated[Path, typer.Argument(help="The fleet, TOML: devices, arrivals, networks.")],
    p99_s: Annotated[
        float | None,
        typer.Option(
            "--p99-s",
            help="Find the replicas that answer 99 of 100 queries within so many seconds.",
        ),
    ] = None,
    profiles: ProfilesOption = None,
    devices: DevicesOption = None,
    report: ReportOption = None,
    figures: FiguresOption = None,
    tables: TablesOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Run a fleet in virtual time: what its users wait, and what its cloud costs.

    The first run after an installation compiles for a while.
    """
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import print_json, progress_bar, show_written
    from escalade.cli.tables import show_report
    from escalade.edge.base import text_of
    from escalade.simulator.devices import devices_with
    from escalade.simulator.fleet import (
        capacity_lines,
        capacity_tables,
        frames_of,
        lines_of,
        plan_capacity,
        run_fleet,
        tables_of,
    )
    from escalade.simulator.network import profiles_with

    known, known_devices = profiles_with(profiles), devices_with(devices)
    if p99_s is not None:
        if report or figures or tables:
            raise typer.BadParameter(
                "--report, --figures and --tables are of a run, not of --p99-s"
            )
        with progress_bar("planning") as tick:
            capacity = plan_capacity(
                spec, p99_s, seed=seed, known=known, devices=known_devices, progress=tick
            )
        if json:
            print_json(capacity)
            return
        show_report(capacity_lines(capacity), capacity_tables(capacity))
        return
    check_destinations(
        {"--report": report},
        {"--figures": figures, "--tables": tables},
        read=[spec, profiles, devices],
    )
    # What draws is loaded only when asked for, and before the work, so that it cannot fail after.
    if report is not None:
        from escalade.simulator.report import write_fleet_page

    if figures is not None:
        from escalade.simulator.paper import write_fleet_figures

    if tables is not None:
        from escalade.simulator.saving import write_frames

    with progress_bar("running") as tick:
        run = run_fleet(spec, seed=seed, known=known, devices=known_devices, progress=tick)
    lines, told, frames = lines_of(run.report), tables_of(run.report), frames_of(run)
    written = []
    if report is not None:
        write_fleet_page(report, text_of(spec.stem), lines, told, frames)
        written.append(("report", report))
    if figures is not None:
        written += [("figure", path) for path in write_fleet_figures(figures, frames)]
    if tables is not None:
        written += [("table", path) for path in write_frames(tables, frames)]
    if json:
        print_json(run.report)
        return
    show_report(lines, told)
    show_written(written)
