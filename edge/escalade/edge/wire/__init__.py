"""The channel to a server: attempts, deadlines, messages; knows no rule."""

from escalade.edge.wire.cloud import CloudClient
from escalade.edge.wire.connection import Connection

__all__ = ["CloudClient", "Connection"]
