"""`escalade profiles`: every network, in a table."""

from __future__ import annotations

import typer

from escalade.cli.options import JsonOption, ProfilesOption


def list_profiles(
    context: typer.Context, profiles: ProfilesOption = None, json: JsonOption = False
) -> None:
    """Networks between a device and the cloud; without a verb, list all of them."""
    from escalade.cli.output import print_json
    from escalade.cli.tables import show_table
    from escalade.simulator.network import profiles_table, profiles_with, row_of

    if (verb := context.invoked_subcommand) is not None:
        if profiles is not None or json:
            raise typer.BadParameter(f"give options after the verb: escalade profiles {verb} ...")
        return
    known = profiles_with(profiles).values()
    if json:
        print_json([row_of(profile) for profile in known])
    else:
        show_table(profiles_table(known))
