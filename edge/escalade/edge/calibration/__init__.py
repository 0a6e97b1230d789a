"""Thresholds, early stops and what is guaranteed of them; knows no network."""

from escalade.edge.calibration.calibration import calibrate, halves_of
from escalade.edge.calibration.data import Answers, answers_in, answers_to
from escalade.edge.calibration.early import EarlyGoal
from escalade.edge.calibration.ensemble import ballots_for, calibrate_ensemble
from escalade.edge.calibration.risk import wilson_interval

__all__ = [
    "Answers",
    "EarlyGoal",
    "answers_in",
    "answers_to",
    "ballots_for",
    "calibrate",
    "calibrate_ensemble",
    "halves_of",
    "wilson_interval",
]
