"""Traces to columns, metrics, costs and deferral curves; knows no network, no page."""

from escalade.simulator.curves.answers import (
    RECORDED,
    Bools,
    Floats,
    Rule,
    answered,
    large_answers,
    rule_name,
    scores_of,
)
from escalade.simulator.curves.bootstrap import (
    Counts,
    Estimate,
    check_resamples,
    draw_queries,
    draw_seeds,
    estimate,
    generator,
    mean_over_seeds,
    p_value,
)
from escalade.simulator.curves.columns import Columns, columns_of, paired_places
from escalade.simulator.curves.compare import Difference, paired_difference
from escalade.simulator.curves.costs import CostModel, cost_named
from escalade.simulator.curves.curves import (
    area_under_curve,
    cost_at_quality,
    deferral_curve,
    mean_from,
    quality_at_deferral_rate,
)
from escalade.simulator.curves.metrics import Metric, metric_named
from escalade.simulator.curves.points import OperatingPoint, TaskAccuracy, at_threshold, by_task
from escalade.simulator.curves.sweep import DeferralCurve, Sweep, oracle

__all__ = [
    "RECORDED",
    "Bools",
    "Columns",
    "CostModel",
    "Counts",
    "DeferralCurve",
    "Difference",
    "Estimate",
    "Floats",
    "Metric",
    "OperatingPoint",
    "Rule",
    "Sweep",
    "TaskAccuracy",
    "answered",
    "area_under_curve",
    "at_threshold",
    "by_task",
    "check_resamples",
    "columns_of",
    "cost_at_quality",
    "cost_named",
    "deferral_curve",
    "draw_queries",
    "draw_seeds",
    "estimate",
    "generator",
    "large_answers",
    "mean_from",
    "mean_over_seeds",
    "metric_named",
    "oracle",
    "p_value",
    "paired_difference",
    "paired_places",
    "quality_at_deferral_rate",
    "rule_name",
    "scores_of",
]
