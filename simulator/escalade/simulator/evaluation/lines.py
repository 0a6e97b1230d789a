"""Curves to draw: means over seeds at even deferral rates; knows no figure and no interval.

The exact curve of one trace has a point for each distinct score (`curves.deferral_curve`);
means over seeds need deferral rates in common, and a page need not carry thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from escalade.simulator.curves import DeferralCurve
from escalade.simulator.evaluation.replicates import SortedTrace
from escalade.simulator.evaluation.results import CurvePoints
from escalade.simulator.recorded import Floats

#: Deferral rates from 0 to 1 in steps of half a percent: finer than a figure shows.
_RATES = np.linspace(0.0, 1.0, 201)


def curve_points(group: str, rule: str, traces: Sequence[SortedTrace], k: int) -> CurvePoints:
    """The curve of a group under its k-th rule, beside random deferral and the oracle."""
    curves = [trace.sweeps[k].curve() for trace in traces]
    quality = np.stack([_at(curve, curve.quality) for curve in curves])
    several = len(curves) > 1
    random = [trace.oracle.ends().quality(_RATES) for trace in traces]
    best = [trace.oracle.curve() for trace in traces]
    return CurvePoints(
        group=group,
        rule=rule,
        deferral_rate=_RATES.tolist(),
        cost=_listed(np.mean([_at(curve, curve.cost) for curve in curves], axis=0)),
        quality=_listed(quality.mean(axis=0)),
        lowest=_listed(quality.min(axis=0)) if several else None,
        highest=_listed(quality.max(axis=0)) if several else None,
        random=np.mean(random, axis=0).tolist(),
        random_cost=np.mean([_random_cost(trace) for trace in traces], axis=0).tolist(),
        oracle=np.mean([_at(curve, curve.quality) for curve in best], axis=0).tolist(),
        oracle_cost=np.mean([_at(curve, curve.cost) for curve in best], axis=0).tolist(),
        a1=_part(curves, [curve.a1 for curve in curves]),
        a2=_part(curves, [curve.a2 for curve in curves]),
    )


def _at(curve: DeferralCurve, values: Floats) -> Floats:
    """Values at even deferral rates; NaN below the lowest one the curve reaches."""
    reached = curve.deferral_rate[0] <= _RATES
    return np.where(reached, np.interp(_RATES, curve.deferral_rate, values), np.nan)


def _random_cost(trace: SortedTrace) -> Floats:
    """Queries deferred at random cost what queries cost on average."""
    columns = trace.oracle.columns
    return np.asarray(columns.small_cost[0].mean() + _RATES * columns.large_cost.mean())


def _part(
    curves: Sequence[DeferralCurve], parts: Sequence[Floats | None]
) -> list[float | None] | None:
    """A1 or A2, where the metric has them."""
    drawn = [
        _at(curve, part) for curve, part in zip(curves, parts, strict=True) if part is not None
    ]
    return _listed(np.mean(drawn, axis=0)) if drawn else None


def _listed(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
