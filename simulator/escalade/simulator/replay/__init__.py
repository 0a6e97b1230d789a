"""Recorded cascades over networks in virtual time; knows no curve and no page."""

from escalade.simulator.replay.grid import Grid, replay_grid, replay_grids
from escalade.simulator.replay.recording import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.replay.replay import Course, Replay, replay
from escalade.simulator.replay.setting import AS_RECORDED, Room, Setting
from escalade.simulator.replay.simulation import Simulation, networks_of, simulate
from escalade.simulator.replay.summary import Summary
from escalade.simulator.replay.tables import (
    answers_tables,
    latency_tables,
    lede,
    traces_table,
)
from escalade.simulator.replay.use_tables import degraded_tables, spending_tables

__all__ = [
    "AS_RECORDED",
    "GRPC_BYTES_DOWN",
    "GRPC_BYTES_UP",
    "Course",
    "Grid",
    "Replay",
    "Room",
    "Setting",
    "Simulation",
    "Summary",
    "answers_tables",
    "degraded_tables",
    "latency_tables",
    "lede",
    "networks_of",
    "replay",
    "replay_grid",
    "replay_grids",
    "simulate",
    "spending_tables",
    "traces_table",
]
