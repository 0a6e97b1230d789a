"""A network before a gRPC channel, in the process that calls; opens no socket, knows no trace."""

from escalade.simulator.network.calls.counting import CallBytes
from escalade.simulator.network.calls.network import CallNetwork

__all__ = ["CallBytes", "CallNetwork"]
