"""What this machine makes of a delay: asked and achieved, driver by driver; knows no trace."""

from escalade.simulator.timing.drivers import drivers_of, drivers_table
from escalade.simulator.timing.measuring import SMALL_S, few_calls_at, measure_delays
from escalade.simulator.timing.report import ClockReport, joined
from escalade.simulator.timing.tables import lines_of, tables_of

__all__ = [
    "SMALL_S",
    "ClockReport",
    "drivers_of",
    "drivers_table",
    "few_calls_at",
    "joined",
    "lines_of",
    "measure_delays",
    "tables_of",
]
