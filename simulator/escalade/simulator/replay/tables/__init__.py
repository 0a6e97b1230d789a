"""A simulation's numbers as tables of text and as columns; knows no terminal and no page."""

from escalade.simulator.replay.tables.frames import frames_of
from escalade.simulator.replay.tables.text import (
    answers_tables,
    curve_table,
    distribution_table,
    latency_tables,
    lede,
    traces_table,
)
from escalade.simulator.replay.tables.use import degraded_tables, spending_tables

__all__ = [
    "answers_tables",
    "curve_table",
    "degraded_tables",
    "distribution_table",
    "frames_of",
    "latency_tables",
    "lede",
    "spending_tables",
    "traces_table",
]
