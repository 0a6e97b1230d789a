"""`escalade profiles plot`: round trips over networks, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ProfilesOption, SeedOption

_PINGS = 10_000
#: Of the stretch over time: a minute, in which a satellite hands over four times, and so many turns
#: of what comes more seldom.
_STRETCH_S, _TURNS, _STRETCH_PINGS = 60.0, 4, 600


def plot(
    names: Annotated[list[str], typer.Argument(help="Names of networks.")],
    out: Annotated[Path, typer.Option("--out", help="The figure: FILE.svg or FILE.png.")],
    profiles: ProfilesOption = None,
    seed: SeedOption = 1,
) -> None:
    """Draw how networks' round trips are distributed, and a minute of them or more."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import result_console
    from escalade.simulator.network import get_profile, ping, profiles_with, span_s
    from escalade.simulator.paper import write_network_figure

    if out.suffix not in {".svg", ".png"}:
        raise typer.BadParameter(f"--out must end in .svg or .png; got {str(out)!r}")
    check_destinations({"--out": out}, read=[profiles])
    known = profiles_with(profiles)
    chosen = [get_profile(name, known) for name in dict.fromkeys(names)]
    every_s = max(_STRETCH_S, span_s(chosen, _TURNS)) / _STRETCH_PINGS
    write_network_figure(
        out,
        {one.name: ping(one, _PINGS, seed=seed) for one in chosen},
        {one.name: ping(one, _STRETCH_PINGS, every_s=every_s, seed=seed) for one in chosen},
    )
    result_console().print(f"figure: {out}")
