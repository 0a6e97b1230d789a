"""Devices as rows, for people and for machines; knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from escalade.simulator.devices.devices import Device
from escalade.simulator.formats import Cell, TextTable, seconds, three_digits

_NONE = "\N{EN DASH}"


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device."""

    name: str
    #: ResNet18 in ncnn's benchmark, on four threads and on one.
    resnet18_ms: float
    resnet18_1_thread_ms: float | None
    #: Times that seconds on the fastest of these devices become.
    times_fastest: float
    battery_wh: float | None
    watts: float | None
    source: str


def device_rows(devices: Iterable[Device]) -> list[DeviceRow]:
    """A row for each, beside the fastest."""
    among = list(devices)
    fastest = min(among, key=lambda one: one.resnet18_ms)
    return [
        DeviceRow(
            name=one.name,
            resnet18_ms=one.resnet18_ms,
            resnet18_1_thread_ms=one.resnet18_1_thread_ms,
            times_fastest=one.scale_from(fastest),
            battery_wh=one.battery_wh,
            watts=one.watts,
            source=one.source,
        )
        for one in among
    ]


def devices_table(rows: Iterable[DeviceRow]) -> TextTable:
    """The same for people."""
    head = ["device", "ResNet18", "1 thread", "times the fastest", "battery", "power", "source"]
    return TextTable("", head, [_cells(row) for row in rows])


def _cells(row: DeviceRow) -> list[Cell]:
    one = row.resnet18_1_thread_ms
    return [
        Cell(row.name),
        Cell(seconds(row.resnet18_ms / 1e3)),
        Cell(_NONE if one is None else seconds(one / 1e3)),
        Cell(three_digits(row.times_fastest)),
        Cell(_NONE if row.battery_wh is None else f"{row.battery_wh:g} Wh"),
        Cell(_NONE if row.watts is None else f"{row.watts:g} W"),
        Cell(row.source),
    ]
