"""Devices by name, each with its source: how fast they are beside one another; knows no trace."""

from escalade.simulator.devices.devices import (
    Device,
    Devices,
    devices_with,
    get_device,
    scale_named,
)
from escalade.simulator.devices.tables import device_rows, devices_table

__all__ = [
    "Device",
    "Devices",
    "device_rows",
    "devices_table",
    "devices_with",
    "get_device",
    "scale_named",
]
