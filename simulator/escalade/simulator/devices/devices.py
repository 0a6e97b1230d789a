"""Reads devices from files and says how much slower one is than another; knows no trace.

A device's speed is the time of one reference model on it, so that ratios are all that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from escalade.simulator.errors import ProfileError, unknown
from escalade.simulator.tables import named_table, read_tables

#: From a microsecond to an hour, in milliseconds.
_LEAST_MS, _MOST_MS = 1e-3, 3.6e6

#: What a battery's capacity is told in.
J_PER_WH = 3600.0

_SHIPPED = Path(__file__).with_name("devices.toml")


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of device.

    Attributes:
        name: what `--device` takes.
        resnet18_ms: time of ResNet18 in ncnn's benchmark, four threads; its scale.
        resnet18_1_thread_ms: on one thread; None where nobody has measured it.
        battery_wh: capacity in watt-hours; None where there is none, or no source says.
        watts: power while a model computes; None where no source says.
        source: where the numbers come from.
    """

    name: str
    resnet18_ms: float
    resnet18_1_thread_ms: float | None = None
    battery_wh: float | None = None
    watts: float | None = None
    source: str

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ProfileError: names the device, the field, its range and its value.
        """
        for field, least, most in (
            ("resnet18_ms", _LEAST_MS, _MOST_MS),
            ("resnet18_1_thread_ms", _LEAST_MS, _MOST_MS),
            ("battery_wh", 1e-3, 1e6),
            ("watts", 1e-3, 1e6),
        ):
            value = getattr(self, field)
            if value is not None and not least <= value <= most:
                raise ProfileError(
                    f"device {self.name!r}: {field} must be {least:g} <= {field} <= {most:g};"
                    f" got {value}"
                )

    def scale_from(self, recorded: Device) -> float:
        """What seconds on another device are to be multiplied by to be seconds on this one."""
        return self.resnet18_ms / recorded.resnet18_ms


#: Devices by name.
Devices = Mapping[str, Device]


@cache
def _shipped_devices() -> Devices:
    return MappingProxyType(_read(_SHIPPED))


def devices_with(path: Path | None) -> Devices:
    """The devices that come with the package, and those of a file, which go before these.

    Raises:
        ProfileError: the file cannot be read, a key is unknown (the nearest is named), or a value
            is out of range.
    """
    if path is None:
        return _shipped_devices()
    return MappingProxyType({**_shipped_devices(), **_read(path)})


def get_device(name: str, known: Devices | None = None) -> Device:
    """The device of that name.

    Raises:
        ProfileError: there is none; the message names the nearest and all known names.
    """
    among = _shipped_devices() if known is None else known
    if name not in among:
        raise ProfileError(unknown("device", name, among))
    return among[name]


class Replayed(NamedTuple):
    """A device in place of the one that recorded."""

    device: Device
    #: What seconds on the device that recorded are multiplied by.
    scale: float


def replayed_named(asked: str, known: Devices | None = None) -> Replayed:
    """The devices that `RECORDED=DEVICE` means.

    Raises:
        ProfileError: it is no such pair, or names no device.
    """
    recorded, equals, replayed = asked.partition("=")
    if not equals:
        raise ProfileError(
            f"a device must be RECORDED=DEVICE, the one that recorded and the one to replay;"
            f" got {asked!r}"
        )
    device = get_device(replayed, known)
    return Replayed(device, device.scale_from(get_device(recorded, known)))


def _read(path: Path) -> dict[str, Device]:
    found = {}
    for name, table in read_tables(path).items():
        try:
            found[name] = named_table(f"device {name!r}", name, table, Device)
        except ProfileError as error:
            raise ProfileError(f"{path}: {error}") from error
    return found
