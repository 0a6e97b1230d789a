"""Options of verbs that replay what was recorded, elsewhere and at other prices; knows no trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.simulator.devices import Devices
    from escalade.simulator.replay import Room, Setting

ProfilesOption = Annotated[
    Path | None,
    typer.Option(
        "--profiles", help="File of more networks (TOML); its names go before those known."
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="RECORDED=DEVICE",
        help="Replay what the first device has recorded as if on the other.",
    ),
]
DevicesOption = Annotated[
    Path | None,
    typer.Option("--devices", help="File of more devices (TOML); its names go before those known."),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--deadline-s",
        help="Seconds a link has for a query; then a lower answer stands. Default: it waits.",
    ),
]
HedgeOption = Annotated[
    float | None,
    typer.Option(
        "--hedge-after-s", help="Seconds after which a query is asked a second time, as hedged."
    ),
]
DialledOption = Annotated[
    float,
    typer.Option(
        "--dialled",
        metavar="SHARE",
        help="Share of the calls that find no connection open and dial, over TLS.",
    ),
]
RoomOption = Annotated[
    str | None,
    typer.Option(
        "--early",
        metavar="TOKENS[,WINDOW]",
        help="End answers on the device, of at most TOKENS, once deferral is certain.",
    ),
]


BlockedOption = Annotated[
    float,
    typer.Option(
        "--blocked",
        metavar="SHARE",
        help="Of queries that are due, the share that link, battery, budget or consent keep here,"
        " in [0, 1], beside what a policy's patterns and tasks do.",
    ),
]


def known_devices(devices: Path | None, *, named: bool) -> Devices:
    """Those of `--devices` before those that are known; `named`: whether anything names one.

    Raises:
        BadParameter: a file is given, and nothing names a device.
        SimulatorError: it cannot be read.
    """
    from escalade.simulator.devices import devices_with

    if devices is not None and not named:
        raise typer.BadParameter(f"--devices goes with --device; got {devices} alone")
    return devices_with(devices)


def setting_of(
    *,
    device: str | None,
    devices: Devices,
    deadline_s: float | None,
    hedge_after_s: float | None,
    dialled: float,
    early: str | None,
    policy: Path | None = None,
    blocked: float = 0.0,
) -> Setting:
    """What these options have other than it was recorded; arguments as their texts say.

    `devices` are those known (`known_devices`).

    Raises:
        BadParameter: `--early` says no room.
        SimulatorError: a device is not known, a policy cannot be read, or a number is out of range.
    """
    from escalade.simulator.devices import replayed_named
    from escalade.simulator.replay import Setting, keeping_of

    return Setting(
        device=None if device is None else replayed_named(device, devices),
        deadline_s=math.inf if deadline_s is None else deadline_s,
        hedge_after_s=math.inf if hedge_after_s is None else hedge_after_s,
        dialled=dialled,
        room=None if early is None else _room_of(early),
        keeping=keeping_of(policy, blocked),
    )


def _room_of(text: str) -> Room:
    """How long answers may become: `32`, or `32,512` with the window.

    Raises:
        BadParameter: it is neither.
    """
    from escalade.simulator.replay import Room

    try:
        room = Room(*map(int, text.split(",")))
    except (TypeError, ValueError):
        room = Room(0)
    if min(room.tokens, room.window or 1) < 1:
        raise typer.BadParameter(
            f"--early takes TOKENS or TOKENS,WINDOW, each at least 1; got {text!r}"
        )
    return room


UpToOption = Annotated[
    str | None,
    typer.Option(
        "--up-to",
        metavar="TIER",
        help="Read the trace as that of the cascade that ends at this tier; those above are left"
        " out.",
    ),
]
SampleOption = Annotated[
    int,
    typer.Option(
        "--sample", help="Queries of a trace, at most; of a longer one so many are drawn."
    ),
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="MODEL=READ,WRITTEN",
        help="Money for a million tokens that a model reads, and writes; may be given again."
        " Default: as recorded.",
    ),
]
PricePerHourOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price-per-hour",
        metavar="MODEL=PRICE",
        help="Money for an hour in which a model computes, as on a rented GPU, beside that for"
        " tokens; may be given again. Hours in which it waits are not counted.",
    ),
]


def prices_of(given: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """What `--price` says, by the model's name.

    Raises:
        BadParameter: it is no price.
    """
    found = _named_numbers(given, 2, "is no price: give MODEL=READ,WRITTEN")
    return {name: (read, written) for name, (read, written) in found.items()}


def hour_prices_of(given: Sequence[str] | None) -> dict[str, float]:
    """What `--price-per-hour` says, by the model's name.

    Raises:
        BadParameter: it is no price.
    """
    found = _named_numbers(given, 1, "is no price of an hour: give MODEL=PRICE")
    return {name: price for name, (price,) in found.items()}


def _named_numbers(given: Sequence[str] | None, many: int, wrong: str) -> dict[str, list[float]]:
    """So many numbers, with commas between, by the name before them."""
    found = {}
    for one in given or ():
        name, _, numbers = one.rpartition("=")
        try:
            each = zip(range(many), numbers.split(","), strict=True)
            found[name] = [float(number) for _, number in each]
        except ValueError:
            raise typer.BadParameter(f"{one!r} {wrong}") from None
    return found
