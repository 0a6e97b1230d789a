"""Figures for a paper, drawn with matplotlib; computes nothing, knows no page."""

from escalade.simulator.paper.figures import write_figures
from escalade.simulator.paper.learning import write_learning_figures
from escalade.simulator.paper.networks import write_network_figure

__all__ = ["write_figures", "write_learning_figures", "write_network_figure"]
