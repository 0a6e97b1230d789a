"""The channel to a server: attempts, deadlines, messages; knows no rule."""

from escalade.edge.wire.checks import ROUNDING, check_info
from escalade.edge.wire.cloud import CloudClient
from escalade.edge.wire.connection import (
    FAILURES_BEFORE_OPEN,
    ClientFiles,
    Connection,
    Dialled,
    Through,
    dial_to,
    mistrust_of,
    read_token,
)
from escalade.edge.wire.hedging import Hedge
from escalade.edge.wire.sending import Sending

__all__ = [
    "FAILURES_BEFORE_OPEN",
    "ROUNDING",
    "ClientFiles",
    "CloudClient",
    "Connection",
    "Dialled",
    "Hedge",
    "Sending",
    "Through",
    "check_info",
    "dial_to",
    "mistrust_of",
    "read_token",
]
