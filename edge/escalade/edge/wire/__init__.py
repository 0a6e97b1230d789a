"""The channel to a server: attempts, deadlines, messages; knows no rule."""

from escalade.edge.wire.checks import ROUNDING, check_info
from escalade.edge.wire.cloud import CloudClient
from escalade.edge.wire.connection import Connection
from escalade.edge.wire.hedging import Hedge

__all__ = ["ROUNDING", "CloudClient", "Connection", "Hedge", "check_info"]
