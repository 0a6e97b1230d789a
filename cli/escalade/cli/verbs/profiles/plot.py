"""`escalade profiles plot`: round trips over networks, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import ProfilesOption, SeedOption

_PINGS = 10_000
#: Of the stretch over time: a minute, and four handovers of a satellite's.
_STRETCH_S, _EVERY_S = 60.0, 0.1


def plot(
    names: Annotated[list[str], typer.Argument(help="Names of networks.")],
    out: Annotated[Path, typer.Option("--out", help="The figure: FILE.svg or FILE.png.")],
    profiles: ProfilesOption = None,
    seed: SeedOption = 1,
) -> None:
    """Draw how networks' round trips are distributed, and a minute of them."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import result_console
    from escalade.simulator.network import get_profile, ping, profiles_with
    from escalade.simulator.paper import write_network_figure

    if out.suffix not in {".svg", ".png"}:
        raise typer.BadParameter(f"--out must end in .svg or .png; got {str(out)!r}")
    check_destinations({"--out": out}, read=[profiles])
    known = profiles_with(profiles)
    chosen = [get_profile(name, known) for name in dict.fromkeys(names)]
    count = round(_STRETCH_S / _EVERY_S)
    write_network_figure(
        out,
        {one.name: ping(one, _PINGS, seed=seed) for one in chosen},
        {one.name: ping(one, count, every_s=_EVERY_S, seed=seed) for one in chosen},
    )
    result_console().print(f"figure: {out}")
