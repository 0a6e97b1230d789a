"""The thresholds of all gates of a cascade, from a trace of it; knows no network."""

from escalade.edge.calibration.gates.calibration import calibrate_cascade

__all__ = ["calibrate_cascade"]
