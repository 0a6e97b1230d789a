"""`escalade plan`: thresholds for a goal, and replicas where there is a fleet."""

from escalade.cli.verbs.plan.plan import plan

__all__ = ["plan"]
