"""The networks and devices that a fleet names, each known or refused; knows no trace, no event."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from escalade.simulator.devices import Device, Devices, get_device
from escalade.simulator.errors import ProfileError
from escalade.simulator.fleet.description import Spec
from escalade.simulator.network import Profile, Profiles, get_profile

Among = TypeVar("Among")
Found = TypeVar("Found")


class Named(NamedTuple):
    """What stands for the names in a fleet's file.

    Attributes:
        profiles: of each group, `past` of those that lead past its gateways.
        past: None of a group that names none; `devices` likewise.
        beyond: of gateways, by their name.
        devices: of each group.
    """

    profiles: list[Profile]
    past: list[Profile | None]
    beyond: dict[str, Profile]
    devices: list[Device | None]


def named_of(spec: Spec, known: Profiles | None, devices: Devices | None) -> Named:
    """Every network and device that a fleet names.

    Args:
        spec: of the fleet.
        known: networks by name; None is those that come with the package.
        devices: by name; None is likewise.

    Raises:
        ProfileError: one is unknown; the message says whose, and names the nearest.
    """
    groups = [(f"group {one.name!r}", one) for one in spec.groups]
    return Named(
        profiles=[profile_of(whose, one.profile, known) for whose, one in groups],
        past=[
            None
            if one.past_gateway is None
            else profile_of(f"{whose}: past_gateway", one.past_gateway, known)
            for whose, one in groups
        ],
        beyond={
            one.name: profile_of(f"gateways {one.name!r}", one.profile, known)
            for one in spec.gateways
        },
        devices=[
            None if one.device is None else _known(whose, get_device, one.device, devices)
            for whose, one in groups
        ],
    )


def profile_of(whose: str, name: str, known: Profiles | None) -> Profile:
    """The network of that name.

    Raises:
        ProfileError: there is none; the message says whose.
    """
    return _known(whose, get_profile, name, known)


def _known(whose: str, find: Callable[[str, Among], Found], name: str, among: Among) -> Found:
    try:
        return find(name, among)
    except ProfileError as error:
        raise ProfileError(f"{whose}: {error}") from error
