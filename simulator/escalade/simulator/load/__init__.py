"""Asks a live server in an open or a closed loop, and says what came; knows no trace."""

from escalade.simulator.load.caller import Target
from escalade.simulator.load.plan import Plan
from escalade.simulator.load.report import LoadReport
from escalade.simulator.load.run import fit_load, fit_load_at, run_load
from escalade.simulator.load.tables import (
    fit_lines,
    fit_table,
    lines_of,
    loaded_fit_lines,
    loaded_fit_table,
    tables_of,
)

__all__ = [
    "LoadReport",
    "Plan",
    "Target",
    "fit_lines",
    "fit_load",
    "fit_load_at",
    "fit_table",
    "lines_of",
    "loaded_fit_lines",
    "loaded_fit_table",
    "run_load",
    "tables_of",
]
