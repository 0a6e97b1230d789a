"""The channel to a server: attempts, deadlines, messages; knows no rule."""

from escalade.edge.wire.checks import ROUNDING, check_info
from escalade.edge.wire.client_files import ClientFiles
from escalade.edge.wire.cloud import CloudClient
from escalade.edge.wire.connection import Connection

__all__ = ["ROUNDING", "ClientFiles", "CloudClient", "Connection", "check_info"]
