"""What this machine makes of a delay: asked and achieved, driver by driver; knows no trace."""

from escalade.simulator.timing.measuring import ASKED_S, measure_delays
from escalade.simulator.timing.report import ClockReport, DelayRow
from escalade.simulator.timing.tables import lines_of, tables_of

__all__ = ["ASKED_S", "ClockReport", "DelayRow", "lines_of", "measure_delays", "tables_of"]
