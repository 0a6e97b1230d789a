"""Cascades that learned from a stream: records, tables, columns; knows no learner, no page."""

from escalade.simulator.learning.frames import frames_of
from escalade.simulator.learning.runs import (
    EXPERT,
    Agreement,
    LearnedRun,
    LevelFigures,
    Moment,
    in_stretches,
)
from escalade.simulator.learning.tables import (
    against_calls_table,
    classes_table,
    course_tables,
    lede,
    levels_table,
    runs_table,
)

__all__ = [
    "EXPERT",
    "Agreement",
    "LearnedRun",
    "LevelFigures",
    "Moment",
    "against_calls_table",
    "classes_table",
    "course_tables",
    "frames_of",
    "in_stretches",
    "lede",
    "levels_table",
    "runs_table",
]
