"""Thresholds for a goal: chosen on one half of a trace, confirmed on the other."""

from escalade.simulator.planning.goals import Goal, Objective
from escalade.simulator.planning.planned import Bound, Figure, Figures, Plan
from escalade.simulator.planning.search import CHOICES, make_plan
from escalade.simulator.planning.tables import lines_of, tables_of

__all__ = [
    "CHOICES",
    "Bound",
    "Figure",
    "Figures",
    "Goal",
    "Objective",
    "Plan",
    "lines_of",
    "make_plan",
    "tables_of",
]
