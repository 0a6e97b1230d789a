"""`escalade profiles show`: one network, pinged in virtual time."""

from __future__ import annotations

from typing import Annotated

import typer

from escalade.cli.options import JsonOption, ProfilesOption, SeedOption


def show(
    name: Annotated[str, typer.Argument(help="Name of a network, e.g. lte.")],
    profiles: ProfilesOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Say what a network is, and what 10,000 pings take on it."""
    from escalade.cli.output import print_json, result_console
    from escalade.simulator.network import get_profile, profiles_with, report_lines, report_of

    report = report_of(get_profile(name, profiles_with(profiles)), seed=seed)
    if json:
        print_json(report)
        return
    for line in report_lines(report):
        result_console().print(line)
