"""Traces replayed over networks in virtual time; knows no page."""

from escalade.simulator.replay.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Replay
from escalade.simulator.replay.simulation import Study, run_study, simulate
from escalade.simulator.replay.summary import ComparisonRow, Summary

__all__ = [
    "GRPC_BYTES_DOWN",
    "GRPC_BYTES_UP",
    "ComparisonRow",
    "Replay",
    "Study",
    "Summary",
    "run_study",
    "simulate",
]
