"""A proxy's state on stdout; asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.simulator.network import ProxyState

ControlArgument = Annotated[
    str, typer.Argument(metavar="CONTROL", help="HOST:PORT or :PORT, the proxy's --control.")
]


def tell(state: ProxyState, *, as_json: bool) -> None:
    """Print what a proxy does now, and what it did before."""
    from escalade.cli.output import print_json, result_console

    if as_json:
        print_json(state)
        return
    for line in _lines(state):
        result_console().print(line)


def _lines(state: ProxyState) -> Iterator[str]:
    paused = ", paused" if state.paused else ""
    yield f"{_named(state.profile, state.fields)} for {_seconds(state.since_s)}{paused}"
    if (before := state.before) is not None:
        was = _named(before.profile, before.fields)
        yield f"before: {was} for {_seconds(before.held_s)}"
    yield (
        f"connections: {state.connections}, {state.open} open, {state.reset} reset from here;"
        f" {state.bytes_up:,} bytes up, {state.bytes_down:,} down"
    )


def _seconds(lasted_s: float) -> str:
    from escalade.simulator.formats import nominal_seconds

    return nominal_seconds(round(lasted_s, 3))


def _named(profile: str, fields: dict[str, object]) -> str:
    """As `escalade proxy set` takes it, but for what JSON and TOML write otherwise."""
    import msgspec

    said = (
        f"{name}={'' if value is None else msgspec.json.encode(value).decode()}"
        for name, value in fields.items()
    )
    return " ".join([profile, *said])
