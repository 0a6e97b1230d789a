"""Millions of devices before one cloud, in virtual time; knows no report page."""

from escalade.simulator.fleet.capacity import plan_capacity
from escalade.simulator.fleet.frames import frames_of
from escalade.simulator.fleet.given import replica_s
from escalade.simulator.fleet.run import run_fleet
from escalade.simulator.fleet.tables import capacity_lines, lines_of, tables_of

__all__ = [
    "capacity_lines",
    "frames_of",
    "lines_of",
    "plan_capacity",
    "replica_s",
    "run_fleet",
    "tables_of",
]
