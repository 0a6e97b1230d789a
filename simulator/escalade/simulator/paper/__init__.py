"""Figures for a paper, drawn with matplotlib; computes nothing, knows no page."""

from escalade.simulator.paper.figures import evaluation_figures, write_figures
from escalade.simulator.paper.fleet import fleet_figures, write_fleet_figures
from escalade.simulator.paper.inlining import inline_svg
from escalade.simulator.paper.learning import learning_figures, write_learning_figures
from escalade.simulator.paper.networks import write_network_figure
from escalade.simulator.paper.simulation import simulation_figures, write_simulation_figures

__all__ = [
    "evaluation_figures",
    "fleet_figures",
    "inline_svg",
    "learning_figures",
    "simulation_figures",
    "write_figures",
    "write_fleet_figures",
    "write_learning_figures",
    "write_network_figure",
    "write_simulation_figures",
]
