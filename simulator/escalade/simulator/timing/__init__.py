"""What this machine makes of a delay: asked and achieved, driver by driver; knows no trace."""

from escalade.simulator.timing.drivers import drivers_of, drivers_table
from escalade.simulator.timing.measuring import measure_delays
from escalade.simulator.timing.tables import lines_of, tables_of

__all__ = [
    "drivers_of",
    "drivers_table",
    "lines_of",
    "measure_delays",
    "tables_of",
]
