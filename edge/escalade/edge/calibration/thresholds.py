"""Thresholds for a goal, from scores and judged answers, and what they do there.

Knows no artifact and no file. Queries with equal scores are deferred together or not at all:
a threshold is one of the scores, or lies above all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escalade.edge.base import counted
from escalade.edge.calibration.risk import p_mean_reaches, share_of, wilson_interval
from escalade.edge.deferral import Goal, Measured, QualityGoal, RateGoal, defers
from escalade.edge.errors import CalibrationError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# The seed of the order in which evidence is weighed.
_ORDER = 1


class Threshold(NamedTuple):
    """A threshold and the deferral rate it has on the scores it was found on."""

    threshold: float
    achieved: float


class Judged(NamedTuple):
    """Whether the small and the large model's answers are right, `(n,)` each."""

    small: Bools
    large: Bools


def threshold_for(goal: Goal, scores: ArrayLike, judged: Judged | None) -> float | None:
    """The threshold for a goal; see the functions below.

    Args:
        goal: its numbers have been checked.
        scores: `(n,)`.
        judged: of the same queries; a goal of quality needs it.

    Returns:
        None where the goal is a bound and no threshold can be certified.

    Raises:
        CalibrationError: the goal cannot be reached, answers are not judged, or a score is not
            finite.
    """
    if isinstance(goal, RateGoal):
        return threshold_for_rate(scores, goal.target).threshold
    if judged is None:
        raise CalibrationError(
            "a goal of quality needs to know whether both models' answers are right: give a trace"
            " of `escalade record` with references"
        )
    if isinstance(goal, QualityGoal):
        return threshold_for_quality(scores, *judged, goal.target).threshold
    found = threshold_within(scores, *judged, goal.epsilon, goal.delta)
    return None if found is None else found.threshold


def measured(
    scores: Sequence[float], threshold: float, judged: Judged | None, *, tokens_saved: float
) -> Measured:
    """What a threshold does on n >= 1 queries; arguments as above."""
    n = len(scores)
    deferred = np.array([defers(score, threshold) for score in scores])
    rate = share_of(deferred)
    if judged is None:
        return Measured(
            n=n,
            deferral_rate=rate,
            deferral_interval=wilson_interval(rate, n),
            tokens_saved=tokens_saved,
        )
    quality = share_of(np.where(deferred, judged.large, judged.small))
    return Measured(
        n=n,
        deferral_rate=rate,
        deferral_interval=wilson_interval(rate, n),
        tokens_saved=tokens_saved,
        quality=quality,
        quality_interval=wilson_interval(quality, n),
        small_quality=share_of(judged.small),
        large_quality=share_of(judged.large),
    )


def threshold_for_rate(scores: ArrayLike, target: float) -> Threshold:
    """The threshold whose deferral rate is nearest to a target.

    Between two equally near ones the lower (the cheaper) is taken.

    Args:
        scores: `(n,)` deferral scores, n >= 1, none of them NaN or infinite.
        target: share of queries to defer, in [0, 1].

    Raises:
        CalibrationError: no scores, a score is not finite, or the target is out of range.
    """
    if not 0.0 <= target <= 1.0:
        raise CalibrationError(f"target deferral rate must be in [0, 1], got {target}")
    candidates, rates = _candidates(_checked(scores))
    distance = np.round(np.abs(rates - target), 12)
    best = int(np.flatnonzero(distance == distance.min())[-1])
    return Threshold(float(candidates[best]), float(rates[best]))


def threshold_for_quality(
    scores: ArrayLike, small: ArrayLike, large: ArrayLike, target: float
) -> Threshold:
    """The threshold with the lowest deferral rate at which the cascade is that often right.

    Args:
        scores: `(n,)`, as above.
        small: `(n,)` whether the small model's answer is right.
        large: `(n,)` whether the large model's is.
        target: share of right answers, in [0, 1].

    Raises:
        CalibrationError: no threshold reaches it; the message says what the best one does.
    """
    if not 0.0 <= target <= 1.0:
        raise CalibrationError(f"quality must be in [0, 1], got {target}")
    values = _checked(scores)
    candidates, rates = _candidates(values)
    right, deferred_right = np.asarray(small, dtype=np.bool_), np.asarray(large, dtype=np.bool_)
    # Of the cascade at each candidate: kept and right, or deferred and right.
    order = np.argsort(values, kind="stable")
    kept = np.append(0, np.cumsum(right[order]))
    sent = np.append(np.cumsum(deferred_right[order][::-1])[::-1], 0)
    first = np.searchsorted(values[order], candidates, side="left")
    quality = (kept + sent)[first] / values.size
    reached = np.flatnonzero(quality >= target)
    if not reached.size:
        best = int(quality.argmax())
        raise CalibrationError(
            f"no threshold gives a quality of {target:.4g}: the best is {quality[best]:.4g}, at a"
            f" deferral rate of {rates[best]:.4g} ({counted(values.size, 'query')})"
        )
    best = int(reached[-1])  # candidates rise, rates fall
    return Threshold(float(candidates[best]), float(rates[best]))


def threshold_within(
    scores: ArrayLike,
    small: ArrayLike,
    large: ArrayLike,
    epsilon: float,
    delta: float,
    *,
    stays: ArrayLike | None = None,
) -> Threshold | None:
    """The highest threshold that can be certified to cost at most epsilon in quality.

    The risk of a threshold tau is `R(tau) = E[(large right - small right) 1{score < tau}]`: by
    how much the cascade's share of right answers lies below the large model's. Its sample
    values are in {-1, 0, 1}; negative ones, where deferring would spoil an answer, count.

    By learn-then-test with fixed-sequence testing (Angelopoulos et al. 2021, arXiv 2110.01052,
    theorem 1), over all doubles from the lowest up; R need not be monotone. Queries are
    independent, of one distribution with those to come, and no router has learned from them.
    They are shuffled here, for a file may be sorted. The proof is in docs/deferral.md.

    Args:
        scores: `(n,)`, as above.
        small: `(n,)` whether the small model's answer is right.
        large: `(n,)` whether the large model's is.
        epsilon: in (0, 1).
        delta: in (0, 1).
        stays: `(n,)` how likely a policy keeps each query from the large model, in [0, 1]: then
            the small model's answer stands, whatever the threshold, and the risk has
            `1{score < tau} + stays 1{score >= tau}` in the indicator's place. None: it keeps none.

    Returns:
        With probability at least `1 - delta`, `R(threshold) <= epsilon`. None where not even
        deferring all these queries can be told from a risk above epsilon: too few queries.
    """
    values = _checked(scores)
    gain = np.asarray(large, dtype=np.float64) - np.asarray(small, dtype=np.float64)
    order = np.random.default_rng(_ORDER).permutation(values.size)
    values, gain = values[order], gain[order]
    lost = np.zeros_like(gain) if stays is None else gain * np.asarray(stays)[order]
    found = None
    for tau, rate in zip(*_candidates(values), strict=True):
        # Every threshold above the score before this one, up to this one, keeps the same queries.
        if p_mean_reaches(np.where(values < tau, gain, lost), epsilon, delta) > delta:
            break
        found = Threshold(float(tau), float(rate))
    return found


def _candidates(values: Floats) -> tuple[Floats, Floats]:
    """Every threshold that tells queries apart, rising, and its deferral rate."""
    distinct, counts = np.unique(values, return_counts=True)
    reaching = values.size - np.cumsum(counts) + counts
    # Deferring nobody takes a threshold just above the highest score.
    candidates = np.append(distinct, np.nextafter(distinct[-1], np.inf))
    return candidates, np.append(reaching, 0) / values.size


def _checked(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise CalibrationError("no scores; at least 1 query is needed")
    if not np.isfinite(values).all():
        raise CalibrationError("a score is not finite; the model gives NaN or infinity")
    return values
