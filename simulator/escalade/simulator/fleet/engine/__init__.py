"""Runs fleets, fast and plainly, to the same latencies; knows no file and no report."""

from escalade.simulator.fleet.engine.draws import ARRIVAL, uniform
from escalade.simulator.fleet.engine.fast import Progress, simulate
from escalade.simulator.fleet.engine.model import Bools, Floats, Ints, Model
from escalade.simulator.fleet.engine.outcome import Outcome
from escalade.simulator.fleet.engine.tally import ANSWERED, DEFERRED, DEGRADED, Tally, quantile

__all__ = [
    "ANSWERED",
    "ARRIVAL",
    "DEFERRED",
    "DEGRADED",
    "Bools",
    "Floats",
    "Ints",
    "Model",
    "Outcome",
    "Progress",
    "Tally",
    "quantile",
    "simulate",
    "uniform",
]
