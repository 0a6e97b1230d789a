"""Traces to the figures and numbers of the CAT paper; knows no page and no file."""

from escalade.simulator.evaluation.bootstrap import (
    Estimate,
    draw_queries,
    draw_seeds,
    estimate,
    generator,
    mean_over_seeds,
    p_value,
)
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.frames import frames_of
from escalade.simulator.evaluation.on_device import on_device
from escalade.simulator.evaluation.results import Contrast, CurvePoints, Evaluation, Slice
from escalade.simulator.evaluation.tables import (
    curve_table,
    lede,
    on_device_table,
    parts_table,
    seeds_table,
    tables_of,
)
from escalade.simulator.evaluation.words import cost_form, quality_form

__all__ = [
    "Contrast",
    "CurvePoints",
    "Estimate",
    "Evaluation",
    "Slice",
    "cost_form",
    "curve_table",
    "draw_queries",
    "draw_seeds",
    "estimate",
    "evaluate",
    "frames_of",
    "generator",
    "lede",
    "mean_over_seeds",
    "on_device",
    "on_device_table",
    "p_value",
    "parts_table",
    "quality_form",
    "seeds_table",
    "tables_of",
]
