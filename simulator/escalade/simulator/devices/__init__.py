"""Devices by name, each with its source: how fast they are beside one another; knows no trace."""

from escalade.simulator.devices.devices import (
    J_PER_WH,
    Device,
    Devices,
    Replayed,
    devices_with,
    get_device,
    replayed_named,
)
from escalade.simulator.devices.energy import EnergyRow, energy_tables
from escalade.simulator.devices.tables import device_rows, devices_table

__all__ = [
    "J_PER_WH",
    "Device",
    "Devices",
    "EnergyRow",
    "Replayed",
    "device_rows",
    "devices_table",
    "devices_with",
    "energy_tables",
    "get_device",
    "replayed_named",
]
