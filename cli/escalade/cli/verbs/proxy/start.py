"""`escalade proxy`: a network in the path of live traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ProfilesOption, SeedOption, given_options


def start(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Name of a network, e.g. coe-100ms.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option("--upstream", help="HOST:PORT of the real server.")
    ] = None,
    profiles: ProfilesOption = None,
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT or :PORT; port 0 takes a free one.")
    ] = "127.0.0.1:0",
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            help="HOST:PORT or :PORT on this machine, where the network is changed while it runs.",
        ),
    ] = None,
    stats: Annotated[
        Path | None, typer.Option("--stats", help="Keep byte and connection counts in this file.")
    ] = None,
    seed: SeedOption = 1,
) -> None:
    """Put a network's delay in the path of live traffic until SIGTERM or Ctrl-C."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import note_console
    from escalade.simulator.network import get_profile, profiles_with, run_proxy

    if (verb := context.invoked_subcommand) is not None:
        if starting := given_options(context):
            raise typer.BadParameter(
                f"{min(starting)} is of a proxy that starts; escalade proxy {verb} asks one that"
                " runs"
            )
        return
    if profile is None or upstream is None:
        missing = "--profile" if profile is None else "--upstream"
        raise typer.BadParameter(f"Missing option '{missing}'")
    check_destinations({"--stats": stats}, read=[profiles])
    known = profiles_with(profiles)
    network = get_profile(profile, known)
    notes = note_console()
    run_proxy(
        network,
        listen,
        upstream,
        seed=seed,
        on_ready=lambda host, port: notes.print(
            f"{profile} ({network.rtt_ms:g} ms round trip) to {upstream} on {host}:{port}"
        ),
        on_trouble=notes.print,
        stats_path=stats,
        control=control,
        known=known,
        on_control=lambda address: notes.print(f"control on {address}"),
    )
