"""Thresholds, early stops and what is guaranteed of them; knows no network."""

from escalade.edge.calibration.calibration import calibrate, check_asked
from escalade.edge.calibration.data import ScoredQueries, answers_in, answers_to
from escalade.edge.calibration.early import EarlyGoal
from escalade.edge.calibration.gates import calibrate_cascade
from escalade.edge.calibration.halves import halves_of
from escalade.edge.calibration.risk import wilson_interval
from escalade.edge.calibration.thresholds import Judged

__all__ = [
    "EarlyGoal",
    "Judged",
    "ScoredQueries",
    "answers_in",
    "answers_to",
    "calibrate",
    "calibrate_cascade",
    "check_asked",
    "halves_of",
    "wilson_interval",
]
