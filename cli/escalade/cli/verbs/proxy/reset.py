"""`escalade proxy reset`: every connection, cut."""

from __future__ import annotations

from escalade.cli.options import JsonOption
from escalade.cli.verbs.proxy.telling import ControlArgument, tell


def reset(control: ControlArgument, json: JsonOption = False) -> None:
    """Reset every open connection, both ends; what is in flight is lost."""
    from escalade.simulator.network import ControlClient

    tell(ControlClient(control).act("reset"), as_json=json)
