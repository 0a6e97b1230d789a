"""`escalade profiles drivers`: what this machine has to put a network in a query's path."""

from __future__ import annotations

from escalade.cli.options import JsonOption


def drivers(json: JsonOption = False) -> None:
    """List what can put a network in a query's path, and whether this machine has it."""
    from escalade.cli.output import print_json
    from escalade.cli.tables import show_table
    from escalade.simulator.network import probe_kernel
    from escalade.simulator.timing import drivers_of, drivers_table

    rows = drivers_of(probe_kernel())
    if json:
        print_json(rows)
    else:
        show_table(drivers_table(rows))
