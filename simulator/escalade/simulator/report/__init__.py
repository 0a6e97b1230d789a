"""Pages with figures, each one file that needs no network; computes nothing."""

from escalade.simulator.report.evaluation import write_evaluation_page
from escalade.simulator.report.fleet import write_fleet_page
from escalade.simulator.report.learning import write_learning_page
from escalade.simulator.report.simulation import write_simulation_page

__all__ = [
    "write_evaluation_page",
    "write_fleet_page",
    "write_learning_page",
    "write_simulation_page",
]
