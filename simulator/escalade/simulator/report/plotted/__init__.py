"""Pages whose figures a library draws in the browser, which is inside; computes nothing."""

from escalade.simulator.report.plotted.evaluation import write_evaluation_page
from escalade.simulator.report.plotted.learning import write_learning_page

__all__ = ["write_evaluation_page", "write_learning_page"]
