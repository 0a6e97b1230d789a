"""Thresholds of all gates for a goal, from what every tier did; knows no trace and no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from escalade.edge.base import counted
from escalade.edge.calibration.gates.climb import Sample
from escalade.edge.calibration.gates.search import (
    ROUNDING,
    Found,
    best_at_cost,
    cheapest_at_quality,
    search,
)
from escalade.edge.calibration.gates.within import thresholds_within
from escalade.edge.calibration.thresholds import threshold_for_rate
from escalade.edge.deferral import (
    BudgetGoal,
    CascadeGoal,
    CostUnit,
    QualityGoal,
    RatesGoal,
    check_cascade_goal,
    defers,
)
from escalade.edge.errors import CalibrationError

_UNITS: dict[CostUnit, str] = {
    "flops": "FLOPs a query",
    "money": "money a query",
    "calls": "calls of the last tier a query",
}


def thresholds_for(
    goal: CascadeGoal,
    fit: Sample,
    *,
    ordering: Sample | None = None,
    unit: CostUnit = "flops",
    lowest: Sequence[float] = (),
) -> tuple[float, ...] | None:
    """The thresholds for a goal.

    Args:
        goal: what they are for.
        fit: of K >= 1 gates.
        ordering: for a guarantee of two gates or more, queries that are not in `fit`.
        unit: what messages call a cost.
        lowest: of each gate, a threshold that defers everything; for a guarantee.

    Returns:
        None where the goal is a guarantee and nothing can be certified.

    Raises:
        CalibrationError: the goal is out of range or cannot be reached (the message says what
            can), answers are not judged, or there are not as many rates as gates.
    """
    try:
        check_cascade_goal(goal)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    if isinstance(goal, RatesGoal):
        return for_rates(goal.targets, fit)
    if fit.right is None:
        raise CalibrationError(
            "this goal needs to know whether every tier's answers are right: record the trace from"
            " queries with references"
        )
    if isinstance(goal, BudgetGoal):
        return for_budget(goal.most, fit, unit).thresholds
    if isinstance(goal, QualityGoal):
        return for_quality(goal.target, fit).thresholds
    return thresholds_within(fit, ordering, goal.epsilon, goal.delta, lowest)


def for_rates(targets: Sequence[float], fit: Sample) -> tuple[float, ...]:
    """The thresholds at whose gates the deferral rates are nearest to the targets.

    Each gate's is the share of the queries that come to it; the thresholds below are set before.
    A gate that no query comes to is set on all.

    Args:
        targets: one for all gates, or one for each, in [0, 1].
        fit: of K gates.

    Raises:
        CalibrationError: there are not as many rates as gates, or one is out of range.
    """
    if len(targets) not in {1, fit.gates}:
        many = "" if fit.gates == 1 else f" for all gates, or {fit.gates}, one for each"
        raise CalibrationError(f"deferral rates must be 1{many}; got {len(targets)}")
    each = list(targets) * fit.gates if len(targets) == 1 else targets
    comes = np.ones(fit.n, dtype=np.bool_)
    found = []
    for gate, target in enumerate(each):
        scores = fit.scores[:, gate]
        tau = threshold_for_rate(scores[comes] if comes.any() else scores, target).threshold
        comes = comes & defers(scores, tau)
        found.append(tau)
    return tuple(found)


def for_budget(most: float, fit: Sample, unit: CostUnit) -> Found:
    """The thresholds with most right answers at a mean cost of at most so much.

    Of equally good ones the cheapest. How thoroughly is said at `search`.

    Raises:
        CalibrationError: every threshold costs more; the message says the least.
    """
    found = search(fit, best_at_cost(most))
    if found.cost > most + ROUNDING * most:
        raise CalibrationError(
            f"no thresholds keep the cost at {most:.4g} {_UNITS[unit]}: the least is"
            f" {found.cost:.4g}, at a quality of {found.quality:.4g} ({counted(fit.n, 'query')})"
        )
    return found


def for_quality(target: float, fit: Sample) -> Found:
    """The cheapest thresholds at which the cascade is that often right; of those the best.

    Args:
        target: share of right answers.
        fit: of K gates, judged.

    Raises:
        CalibrationError: none reach it; the message says what the best do.
    """
    found = search(fit, cheapest_at_quality(target))
    if found.quality < target - ROUNDING:
        raise CalibrationError(
            f"no thresholds give a quality of {target:.4g}: the best is {found.quality:.4g}, at a"
            f" cost of {found.cost:.4g} ({counted(fit.n, 'query')})"
        )
    return found
