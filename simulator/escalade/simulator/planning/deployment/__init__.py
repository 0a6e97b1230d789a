"""Thresholds and replicas for a goal, in a fleet; knows no terminal."""

from escalade.simulator.planning.deployment.choosing import plan_deployment
from escalade.simulator.planning.deployment.fleet_file import (
    PlannedFleet,
    checked_a_day,
    read_fleet,
)

__all__ = ["PlannedFleet", "checked_a_day", "plan_deployment", "read_fleet"]
