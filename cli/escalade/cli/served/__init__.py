"""What `serve` and `gateway` put behind a port, and how they are watched; knows no gRPC."""

from escalade.cli.served.model import OpenaiOptions, backend_named
from escalade.cli.served.opening import GatewayCascade, deferring
from escalade.cli.served.reports import reports_of
from escalade.cli.served.shared import CLAIM
from escalade.cli.served.swapping import Swapping
from escalade.cli.served.watching import (
    LogChoice,
    LogOption,
    LogTextOption,
    MetricsOption,
    OtlpOption,
    watched,
)

__all__ = [
    "CLAIM",
    "GatewayCascade",
    "LogChoice",
    "LogOption",
    "LogTextOption",
    "MetricsOption",
    "OpenaiOptions",
    "OtlpOption",
    "Swapping",
    "backend_named",
    "deferring",
    "reports_of",
    "watched",
]
