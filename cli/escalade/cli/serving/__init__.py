"""Cascades that a gateway serves: opened, described, exchanged, in turns; knows no gRPC."""

from escalade.cli.serving.opening import GatewayCascade, deferring
from escalade.cli.serving.reports import reports_of
from escalade.cli.serving.shared import CLAIM
from escalade.cli.serving.swapping import Swapping

__all__ = ["CLAIM", "GatewayCascade", "Swapping", "deferring", "reports_of"]
