"""Pages and figures; computes nothing."""

from escalade.simulator.report.evaluation_page import write_evaluation_page
from escalade.simulator.report.report import write_simulation_page

__all__ = ["write_evaluation_page", "write_simulation_page"]
