"""`escalade proxy pause`: an outage, from now on."""

from __future__ import annotations

from escalade.cli.options import JsonOption
from escalade.cli.verbs.proxy.telling import ControlArgument, tell


def pause(control: ControlArgument, json: JsonOption = False) -> None:
    """Let nothing through until `resume`: what comes waits, what is in flight goes through."""
    from escalade.simulator.network import ControlClient

    tell(ControlClient(control).act("pause"), as_json=json)
