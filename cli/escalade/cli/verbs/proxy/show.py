"""`escalade proxy show`: what a proxy that runs does, and what went through."""

from __future__ import annotations

from escalade.cli.options import JsonOption
from escalade.cli.verbs.proxy.telling import ControlArgument, tell


def show(control: ControlArgument, json: JsonOption = False) -> None:
    """Say what a proxy's network is and was, and what went through."""
    from escalade.simulator.network import ControlClient

    tell(ControlClient(control).state(), as_json=json)
