"""Pages whose figures a library draws in the browser, which is inside; computes nothing."""

from escalade.simulator.report.plotted.learning import write_learning_page

__all__ = ["write_learning_page"]
