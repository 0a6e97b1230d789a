"""Deferral curves, replayed from a trace on a free network; knows no time, no bytes, no plot.

The cost model. Equation 6 of the CAT paper (arXiv 2406.00060) charges every query for the
small model and a deferred one for the large model too, `C_cas(x) = C_S(x) + 1[r(x) >= tau]
C_L(x)`, and section 4.1 takes the FLOPs of a token as twice the parameters. Two axes follow:

- `flops_per_token`, the paper's x axis: `2 P_S + deferral_rate * 2 P_L`, the cost of a token
  held constant, so that the axis is the deferral rate, stretched.
- `flops_per_query`: the mean over queries of equation 6 with `C(x) = 2 P * tokens(x)`,
  prompt and generated tokens as the trace counted them for each model.

Quality is the share of correct answers: equation 9 with the 0-1 correctness indicator.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.answers import Bools, Floats, answers_of
from escalade.simulator.errors import SimulatorError


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cascade at one threshold: `quality = a1 + a2` (equation 9)."""

    threshold: float
    deferral_rate: float
    quality: float
    #: Share of all queries that the small model keeps and answers correctly.
    a1: float
    #: Share of all queries that the large model is given and answers correctly.
    a2: float
    flops_per_query: float
    flops_per_token: float


class TaskAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """One task of the mixture at one threshold; accuracies are shares of its `queries`."""

    queries: int
    small_accuracy: float
    large_accuracy: float
    cascade_accuracy: float
    deferral_rate: float


@dataclass(frozen=True)
class DeferralCurve:
    """Every operating point of a cascade, from no deferral to all; arrays are `(K,)`.

    Row k is the cascade at `threshold[k]`. The first threshold is infinite (no query is
    deferred), the others are the distinct scores, falling; `deferral_rate` and both costs
    rise strictly. Queries with the same score are deferred together.
    """

    threshold: Floats
    deferral_rate: Floats
    quality: Floats
    a1: Floats
    a2: Floats
    flops_per_query: Floats
    flops_per_token: Floats


def deferral_curve(trace: Trace) -> DeferralCurve:
    """Sweep the threshold over every distinct score, exactly.

    Raises:
        SimulatorError: the trace lacks large answers or references.
    """
    answers = answers_of(trace)
    order = np.argsort(-answers.score, kind="stable")
    ends = group_ends(answers.score[order])
    n = len(order)

    def deferred(values: Floats | Bools) -> Floats:
        """Mean of `values` over all queries, counting the deferred ones only, `(K,)`."""
        return np.concatenate([[0.0], np.cumsum(values[order], dtype=np.float64)])[ends] / n

    rate = ends / n
    a1 = answers.small_correct.mean() - deferred(answers.small_correct)
    a2 = deferred(answers.large_correct)
    return DeferralCurve(
        # Before a group ends nothing of it is deferred, so a group's own score defers it.
        threshold=np.concatenate([[np.inf], answers.score[order]])[ends],
        deferral_rate=rate,
        quality=a1 + a2,
        a1=a1,
        a2=a2,
        flops_per_query=answers.small_flops.mean() + deferred(answers.large_flops),
        flops_per_token=answers.small_flops_per_token + rate * answers.large_flops_per_token,
    )


def group_ends(falling_score: Floats) -> NDArray[np.intp]:
    """How many queries each distinct threshold defers, `(K,)`, rising from none to all.

    Args:
        falling_score: `(N,)`, sorted from the highest. Infinite scores are deferred at any
            threshold, so where there are some the first entry is their number, not 0.
    """
    last_of_group = np.flatnonzero(np.diff(falling_score)) + 1
    ends = np.concatenate([last_of_group, [len(falling_score)]])
    return ends if falling_score[0] == np.inf else np.concatenate([[0], ends])


def at_threshold(trace: Trace, tau: float) -> OperatingPoint:
    """The cascade at one threshold, which need not be a score of the trace."""
    answers = answers_of(trace)
    deferred = ~(answers.score < tau)
    rate = float(deferred.mean())
    a1 = float((answers.small_correct & ~deferred).mean())
    a2 = float((answers.large_correct & deferred).mean())
    return OperatingPoint(
        threshold=tau,
        deferral_rate=rate,
        quality=a1 + a2,
        a1=a1,
        a2=a2,
        flops_per_query=float((answers.small_flops + deferred * answers.large_flops).mean()),
        flops_per_token=answers.small_flops_per_token + rate * answers.large_flops_per_token,
    )


def by_task(trace: Trace, tau: float | None = None) -> dict[str, TaskAccuracy]:
    """Accuracies and deferral rate of each task, at `tau` or the trace's own threshold."""
    answers = answers_of(trace)
    deferred = ~(answers.score < (trace.header.threshold if tau is None else tau))
    cascade_correct = np.where(deferred, answers.large_correct, answers.small_correct)
    tasks = np.array([record.task for record in trace.records])
    table = {}
    for task in sorted(set(tasks.tolist())):
        of_task = tasks == task
        table[task] = TaskAccuracy(
            queries=int(of_task.sum()),
            small_accuracy=float(answers.small_correct[of_task].mean()),
            large_accuracy=float(answers.large_correct[of_task].mean()),
            cascade_accuracy=float(cascade_correct[of_task].mean()),
            deferral_rate=float(deferred[of_task].mean()),
        )
    return table


def quality_at_deferral_rate(curve: DeferralCurve, rate: float) -> float:
    """Quality at a deferral rate, linear between neighbouring operating points.

    A point between two thresholds is reached, in expectation, by tossing for each query
    which of the two to use.

    Raises:
        SimulatorError: `rate` is outside the curve.
    """
    return _interpolate(rate, "deferral_rate", curve.deferral_rate, curve.quality)


def quality_at_flops(curve: DeferralCurve, flops_per_token: float) -> float:
    """Quality at a cost on the paper's axis; between points as in `quality_at_deferral_rate`."""
    return _interpolate(flops_per_token, "flops_per_token", curve.flops_per_token, curve.quality)


def flops_at_quality(curve: DeferralCurve, quality: float) -> float | None:
    """The least FLOPs per token at which the curve reaches `quality`; None if it never does."""
    reached = np.flatnonzero(curve.quality >= quality)
    if not len(reached):
        return None
    k = int(reached[0])
    if k == 0:
        return float(curve.flops_per_token[0])
    two = slice(k - 1, k + 1)
    return float(np.interp(quality, curve.quality[two], curve.flops_per_token[two]))


def random_quality(curve: DeferralCurve, rate: float) -> float:
    """Quality when a random share `rate` is deferred: the straight line between the ends."""
    ends = [0, -1]
    return _interpolate(rate, "deferral_rate", curve.deferral_rate[ends], curve.quality[ends])


def area_under_curve(curve: DeferralCurve) -> float:
    """Area under quality against deferral rate: the mean quality over all deferral rates."""
    return float(np.trapezoid(curve.quality, curve.deferral_rate))


def _interpolate(x: float, name: str, xs: Floats, ys: Floats) -> float:
    if not xs[0] <= x <= xs[-1]:
        raise SimulatorError(f"{name} must be in [{xs[0]:g}, {xs[-1]:g}]; got {x:g}")
    return float(np.interp(x, xs, ys))
