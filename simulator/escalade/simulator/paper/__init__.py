"""Figures for a paper, drawn with matplotlib; computes nothing, knows no page."""

from escalade.simulator.paper.figures import write_figures

__all__ = ["write_figures"]
