"""A channel to a server: addresses, files that say who asks, attempts; knows no query."""

from escalade.edge.wire.connection.breaker import FAILURES_BEFORE_OPEN, Breaker
from escalade.edge.wire.connection.client_files import NO_FILES, ClientFiles, read_token
from escalade.edge.wire.connection.connection import Connection
from escalade.edge.wire.connection.dialling import Dialled, Through, dial_to
from escalade.edge.wire.connection.handshake import mistrust_of

__all__ = [
    "FAILURES_BEFORE_OPEN",
    "NO_FILES",
    "Breaker",
    "ClientFiles",
    "Connection",
    "Dialled",
    "Through",
    "dial_to",
    "mistrust_of",
    "read_token",
]
