"""`escalade fleet`: a million devices before one cloud, in virtual time; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption, ProfilesOption, SeedOption


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
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Run a fleet in virtual time: what its users wait, and what its cloud costs.

    The first run after an installation compiles for a while.
    """
    from escalade.cli.output import print_json, progress_bar, result_console, show_report
    from escalade.simulator.fleet import (
        capacity_lines,
        lines_of,
        plan_capacity,
        run_fleet,
        tables_of,
    )
    from escalade.simulator.network import profiles_with

    known = profiles_with(profiles)
    if p99_s is not None:
        with progress_bar("planning") as tick:
            capacity = plan_capacity(spec, p99_s, seed=seed, known=known, progress=tick)
        if json:
            print_json(capacity)
            return
        for line in capacity_lines(capacity):
            result_console().print(line)
        return
    with progress_bar("running") as tick:
        report = run_fleet(spec, seed=seed, known=known, progress=tick)
    if json:
        print_json(report)
        return
    show_report(lines_of(report), tables_of(report))
