"""Runs fleets, fast; knows no file and no report."""

from escalade.simulator.fleet.engine.fast import Progress, simulate
from escalade.simulator.fleet.engine.model import (
    ARRIVAL,
    Bools,
    Floats,
    Gateways,
    Ints,
    Model,
    Past,
    no_gateways,
    uniform,
)
from escalade.simulator.fleet.engine.outcome import Outcome
from escalade.simulator.fleet.engine.tally import (
    ANSWERED,
    AT_GATEWAY,
    DEFERRED,
    DEGRADED,
    Tally,
    quantile,
)

__all__ = [
    "ANSWERED",
    "ARRIVAL",
    "AT_GATEWAY",
    "DEFERRED",
    "DEGRADED",
    "Bools",
    "Floats",
    "Gateways",
    "Ints",
    "Model",
    "Outcome",
    "Past",
    "Progress",
    "Tally",
    "no_gateways",
    "quantile",
    "simulate",
    "uniform",
]
