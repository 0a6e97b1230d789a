"""`escalade proxy`: a network in the path of live traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ProfilesOption, SeedOption


def proxy(
    profile: Annotated[str, typer.Option("--profile", help="Name of a network, e.g. coe-100ms.")],
    upstream: Annotated[str, typer.Option("--upstream", help="HOST:PORT of the real server.")],
    profiles: ProfilesOption = None,
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
    from escalade.simulator.network import get_profile, profiles_with, run_proxy

    network = get_profile(profile, profiles_with(profiles))
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
    )
