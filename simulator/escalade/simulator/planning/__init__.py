"""Thresholds for a goal: chosen on one half of a trace, confirmed on the other."""

from escalade.simulator.planning.goals import Goal
from escalade.simulator.planning.search import make_plan
from escalade.simulator.planning.tables import lines_of, tables_of

__all__ = ["Goal", "lines_of", "make_plan", "tables_of"]
