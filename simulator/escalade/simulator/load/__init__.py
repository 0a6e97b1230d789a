"""Asks a live server in an open or a closed loop, and says what came; knows no trace."""

from escalade.simulator.load.caller import Target
from escalade.simulator.load.delays import timed_delays
from escalade.simulator.load.fitting import Fit
from escalade.simulator.load.loaded_fit import LoadedFit
from escalade.simulator.load.plan import Plan
from escalade.simulator.load.report import LoadReport
from escalade.simulator.load.run import fit_load, fit_load_at, run_load
from escalade.simulator.load.tables import shown

__all__ = [
    "Fit",
    "LoadReport",
    "LoadedFit",
    "Plan",
    "Target",
    "fit_load",
    "fit_load_at",
    "run_load",
    "shown",
    "timed_delays",
]
