"""Deferral curves, replayed from a trace on a free network; knows no time, no bytes, no plot.

Between two points of a curve values are linear: a cascade gets there, in expectation, by
tossing for each query which of the two thresholds to use (for a corpus metric that holds to
first order).
"""

from __future__ import annotations

import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.metrics import Metric
from escalade.simulator.curves.split import split_at
from escalade.simulator.curves.sweep import DeferralCurve, Sweep
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded import RECORDED, CostModel, Rule


def deferral_curve(
    trace: Trace,
    *,
    rule: Rule = RECORDED,
    metric: str | Metric = "recorded",
    cost: str | CostModel = "flops_per_token",
    gate: str | None = None,
) -> DeferralCurve:
    """Sweep the threshold of a gate over every distinct score, exactly.

    Raises:
        SimulatorError: see `split_at` and `columns_of`.
    """
    split = split_at(trace, gate)
    return Sweep.of(columns_of(split, rule=rule, metric=metric, cost=cost)).curve()


def quality_at_deferral_rate(curve: DeferralCurve, rate: float) -> float:
    """Quality at a deferral rate, linear between neighbouring operating points.

    Raises:
        SimulatorError: `rate` is outside the curve.
    """
    reached = curve.deferral_rate
    if not reached[0] <= rate <= reached[-1]:
        raise SimulatorError(
            f"deferral_rate must be in [{reached[0]:g}, {reached[-1]:g}]; got {rate:g}"
        )
    return float(np.interp(rate, reached, curve.quality))


def cost_at_quality(curve: DeferralCurve, quality: float) -> float | None:
    """The least cost at which the curve reaches `quality`; None if it never does."""
    sign = curve.metric.sign
    reached = sign * curve.quality >= sign * quality
    k = int(reached.argmax())
    if not reached[k]:
        return None
    if k == 0:
        return float(curve.cost[0])
    (before, at), (cheaper, dearer) = curve.quality[k - 1 : k + 1], curve.cost[k - 1 : k + 1]
    return float(cheaper + (quality - before) / (at - before) * (dearer - cheaper))


def area_under_curve(curve: DeferralCurve) -> float:
    """Area under quality against deferral rate: the mean quality over all deferral rates.

    Queries of an infinite score always defer; lower rates then count with the quality at the
    lowest, which is what the cascade gives however few are to be deferred.
    """
    return mean_from(curve, float(curve.deferral_rate[0]))


def mean_from(curve: DeferralCurve, lowest: float) -> float:
    """Mean quality over all deferral rates, those under `lowest` with the quality at it.

    `lowest` is on the curve.
    """
    beyond = curve.deferral_rate > lowest
    at_lowest = float(np.interp(lowest, curve.deferral_rate, curve.quality))
    rate = np.concatenate([[lowest], curve.deferral_rate[beyond]])
    quality = np.concatenate([[at_lowest], curve.quality[beyond]])
    return lowest * at_lowest + float(np.trapezoid(quality, rate))
