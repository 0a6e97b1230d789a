"""`escalade proxy set`: another network for a proxy that runs."""

from __future__ import annotations

import tomllib
from typing import Annotated

import typer

from escalade.cli.options import JsonOption
from escalade.cli.verbs.proxy.telling import ControlArgument, tell


def set_(
    control: ControlArgument,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="[PROFILE] [FIELD=VALUE]...",
            help="A network's name; fields in place of its own or the present one's, as TOML"
            " (nothing after = leaves one out).",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Change the network for what comes from now on; what is in flight keeps its times."""
    from escalade.simulator.network import ControlClient

    names = [one for one in changes if "=" not in one]
    if len(names) > 1:
        raise typer.BadParameter(f"one PROFILE at most; got {', '.join(names)}")
    fields = dict(_field(one) for one in changes if "=" in one)
    tell(ControlClient(control).set(names[0] if names else None, fields), as_json=json)


def _field(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    if not value:
        return name, None
    try:
        read = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        read = {}
    if read.keys() != {"value"}:
        raise typer.BadParameter(f"{name}: must be a TOML value, e.g. 70 or 0.01; got {value!r}")
    return name, read["value"]
