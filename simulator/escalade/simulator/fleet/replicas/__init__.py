"""How many replicas a fleet needs, and what it does under others; knows no table."""

from escalade.simulator.fleet.replicas.capacity import RUNS, Capacity, fewest, plan_capacity
from escalade.simulator.fleet.replicas.trials import Took, Trials

__all__ = [
    "RUNS",
    "Capacity",
    "Took",
    "Trials",
    "fewest",
    "plan_capacity",
]
