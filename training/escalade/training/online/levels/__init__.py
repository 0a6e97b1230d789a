"""Models that learn from an expert's labels, and who defers; knows no stream and no expert."""

from escalade.training.online.levels.calibrator import Calibrators, CalibratorSettings
from escalade.training.online.levels.level import Example, Floats, Level, Prediction, Tensors
from escalade.training.online.levels.linear import LinearLevel, LinearSettings

__all__ = [
    "CalibratorSettings",
    "Calibrators",
    "Example",
    "Floats",
    "Level",
    "LinearLevel",
    "LinearSettings",
    "Prediction",
    "Tensors",
]
