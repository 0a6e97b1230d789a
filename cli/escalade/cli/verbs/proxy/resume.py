"""`escalade proxy resume`: the end of an outage."""

from __future__ import annotations

from escalade.cli.options import JsonOption
from escalade.cli.verbs.proxy.telling import ControlArgument, tell


def resume(control: ControlArgument, json: JsonOption = False) -> None:
    """Let through what waits, and what comes."""
    from escalade.simulator.network import ControlClient

    tell(ControlClient(control).act("resume"), as_json=json)
