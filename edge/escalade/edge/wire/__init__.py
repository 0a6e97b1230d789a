"""The channel to a cloud: attempts, deadlines, messages; knows no rule."""

from escalade.edge.wire.cloud import CloudClient
from escalade.edge.wire.connection import MAY_PASS, Clock, Connection, SystemClock
from escalade.edge.wire.large import Draft, LargeModel, PromptForm, Query

__all__ = [
    "MAY_PASS",
    "Clock",
    "CloudClient",
    "Connection",
    "Draft",
    "LargeModel",
    "PromptForm",
    "Query",
    "SystemClock",
]
