"""Millions of devices before one cloud, in virtual time; knows no report page."""

from escalade.simulator.fleet.demand import recorded_of, recorded_times
from escalade.simulator.fleet.description import Daily, Group, Recorded, Spec, read_spec
from escalade.simulator.fleet.frames import frames_of
from escalade.simulator.fleet.given import replica_s
from escalade.simulator.fleet.naming import named_of, profile_of
from escalade.simulator.fleet.replicas import RUNS, Took, Trials, fewest, plan_capacity
from escalade.simulator.fleet.report import FleetReport
from escalade.simulator.fleet.run import run_fleet, run_spec
from escalade.simulator.fleet.tables import capacity_lines, capacity_tables, lines_of, tables_of

__all__ = [
    "RUNS",
    "Daily",
    "FleetReport",
    "Group",
    "Recorded",
    "Spec",
    "Took",
    "Trials",
    "capacity_lines",
    "capacity_tables",
    "fewest",
    "frames_of",
    "lines_of",
    "named_of",
    "plan_capacity",
    "profile_of",
    "read_spec",
    "recorded_of",
    "recorded_times",
    "replica_s",
    "run_fleet",
    "run_spec",
    "tables_of",
]
