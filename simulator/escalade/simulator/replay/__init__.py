"""Recorded cascades over networks in virtual time; knows no curve and no page."""

from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.replay.course import Course
from escalade.simulator.replay.grid import Grid, replay_grid, replay_grids
from escalade.simulator.replay.replay import Replay, replay
from escalade.simulator.replay.rows import spared_flops
from escalade.simulator.replay.setting import AS_RECORDED, Room, Setting, keeping_of
from escalade.simulator.replay.simulation import Simulation, networks_of, simulate
from escalade.simulator.replay.steps import GateCurve, curves_of, step_of
from escalade.simulator.replay.summary import Summary, TraceRow
from escalade.simulator.replay.tables import (
    answers_tables,
    curve_table,
    degraded_tables,
    distribution_table,
    frames_of,
    latency_tables,
    lede,
    spending_tables,
    traces_table,
)

__all__ = [
    "AS_RECORDED",
    "GRPC_BYTES_DOWN",
    "GRPC_BYTES_UP",
    "Course",
    "GateCurve",
    "Grid",
    "Replay",
    "Room",
    "Setting",
    "Simulation",
    "Summary",
    "TraceRow",
    "answers_tables",
    "curve_table",
    "curves_of",
    "degraded_tables",
    "distribution_table",
    "frames_of",
    "keeping_of",
    "latency_tables",
    "lede",
    "networks_of",
    "replay",
    "replay_grid",
    "replay_grids",
    "simulate",
    "spared_flops",
    "spending_tables",
    "step_of",
    "traces_table",
]
