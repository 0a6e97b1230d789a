"""A gate's deferral curve: quality against cost at every threshold; knows no network, no page."""

from escalade.simulator.curves.columns import Columns, columns_of
from escalade.simulator.curves.curves import (
    area_under_curve,
    cost_at_quality,
    deferral_curve,
    mean_from,
    quality_at_deferral_rate,
)
from escalade.simulator.curves.metrics import Metric, metric_named
from escalade.simulator.curves.split import Split, paired_places, split_at
from escalade.simulator.curves.sweep import Counts, DeferralCurve, Sweep, oracle

__all__ = [
    "Columns",
    "Counts",
    "DeferralCurve",
    "Metric",
    "Split",
    "Sweep",
    "area_under_curve",
    "columns_of",
    "cost_at_quality",
    "deferral_curve",
    "mean_from",
    "metric_named",
    "oracle",
    "paired_places",
    "quality_at_deferral_rate",
    "split_at",
]
