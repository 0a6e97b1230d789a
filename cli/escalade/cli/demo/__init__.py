"""The demo: a whole cascade across a simulated network, with real processes and sockets."""

from escalade.cli.demo.command import demo

__all__ = ["demo"]
