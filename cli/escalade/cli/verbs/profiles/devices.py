"""`escalade profiles devices`: every device, in a table."""

from __future__ import annotations

from escalade.cli.options import DevicesOption, JsonOption


def devices(devices: DevicesOption = None, json: JsonOption = False) -> None:
    """List devices, and how fast they are beside one another."""
    from escalade.cli.output import print_json
    from escalade.cli.tables import show_table
    from escalade.simulator.devices import device_rows, devices_table, devices_with

    rows = device_rows(devices_with(devices).values())
    if json:
        print_json(rows)
    else:
        show_table(devices_table(rows))
