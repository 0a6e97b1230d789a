"""The thresholds of all gates of a cascade, from a trace of it; knows no network."""

from escalade.edge.calibration.gates.calibration import calibrate_cascade
from escalade.edge.calibration.gates.climb import Sample, climb
from escalade.edge.calibration.gates.goals import for_budget, for_rates

__all__ = ["Sample", "calibrate_cascade", "climb", "for_budget", "for_rates"]
