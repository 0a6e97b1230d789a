"""Finds when a response may end because its query will likely be deferred.

Knows no artifact, no model and no network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from escalade.edge.calibration.risk import most_misses, share_of
from escalade.edge.deferral import DeferralRule, EarlyEntry, EarlyStop, Statistic, check_share
from escalade.edge.errors import CalibrationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

# Tokens before which no response is stopped, for calibration to choose from.
_MIN_TOKENS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class EarlyGoal(NamedTuple):
    """How often a response may be stopped that would not have been deferred; see `EarlyEntry`."""

    miss_rate: float
    delta: float


def check_early(goal: EarlyGoal) -> None:
    """Hold a goal's numbers to their range.

    Raises:
        ValueError: one is not in (0, 1).
    """
    check_share("miss rate", goal.miss_rate, ends=False)
    check_share("delta", goal.delta, ends=False)


class Responses(NamedTuple):
    """Whole responses and how they ended, for calibration."""

    #: Log-probabilities, `(N_i,)` each, n of them.
    logprobs: Sequence[Sequence[float]]
    #: Final deferral scores, `(n,)`.
    scores: Floats
    #: How many tokens each needs until deferral is certain, `(n,)`; N_i where it never is.
    certain_at: Ints


def responses_of(
    rule: DeferralRule,
    threshold: float,
    logprobs: Sequence[Sequence[float]],
    longest: Sequence[int],
) -> Responses:
    """Score whole responses, and find when each could have ended for certain.

    Args:
        rule: the deferral rule.
        threshold: tau.
        logprobs: of each response, n >= 1 of them.
        longest: how many tokens each might have had.
    """
    certain_at = []
    for one, most in zip(logprobs, longest, strict=True):
        stop, seen = EarlyStop(rule, threshold, most), []
        for logprob in one:
            seen.append(logprob)
            if stop(seen):
                break
        certain_at.append(len(seen))
    scores = np.array([rule(one) for one in logprobs])
    return Responses(logprobs, scores, np.array(certain_at))


def tokens_saved(responses: Responses) -> float:
    """The share of device tokens that ending for certain saves."""
    total = sum(map(len, responses.logprobs))
    return 1.0 - float(responses.certain_at.sum()) / total


def calibrate_early(
    chosen_on: Responses,
    set_on: Responses,
    threshold: float,
    goal: EarlyGoal,
) -> EarlyEntry:
    """Find when to stop because deferral is likely, with a bound on how often that is wrong.

    A response is stopped at the first of its tokens n >= n0, but for its last, where a
    statistic T_n of the tokens so far reaches the level. It is missed where its final score
    would have stayed below tau. With M the greatest such T_n of a response, it is stopped
    where M >= level.

    Statistic and n0 are those that save most on `chosen_on`; on `set_on`, independent of them and
    of tau, the level is the lowest with so few misses that the exact binomial test rejects a
    larger miss rate. With probability at least `1 - delta` its true miss rate is at most
    `miss_rate`: proved in docs/deferral.md, for levels that no data fixed.

    A miss costs a call of the cloud; and an answer, where the small model is right and the
    large one is not. So the risk of `threshold_within` is at most `epsilon + miss_rate` where
    likely stops are taken, with probability at least `1 - 2 delta`.

    Args:
        chosen_on: responses that choose the statistic and n0.
        set_on: other responses, which set the level.
        threshold: tau, not chosen on `set_on`.
        goal: both numbers in (0, 1).

    Raises:
        CalibrationError: a number is out of range, a log-probability is not finite, or there are
            too few queries: not even no miss at all shows a rate that low.
    """
    miss_rate, delta = goal
    try:
        check_early(goal)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    n = len(set_on.logprobs)
    if most_misses(n, miss_rate, delta) < 0:
        needed = np.ceil(math.log(delta) / math.log1p(-miss_rate))
        raise CalibrationError(
            f"a miss rate of {miss_rate:.4g} with confidence {1 - delta:.4g} takes at least"
            f" {needed:g} queries to set the level on, got {n}"
        )
    for part in (chosen_on, set_on):
        if not all(math.isfinite(logprob) for one in part.logprobs for logprob in one):
            raise CalibrationError("a log-probability is not finite; no level can be set")
    best = _Setting("mean", _MIN_TOKENS[0], 0.0, 0, 0.0, -1.0)
    for statistic in get_args(Statistic):
        so_far = _so_far(statistic, chosen_on.logprobs)
        for least in _MIN_TOKENS:
            tried = _set(chosen_on, statistic, so_far, least, threshold, goal)
            best = max(best, tried, key=lambda setting: setting.saved)
    so_far = _so_far(best.statistic, set_on.logprobs)
    found = _set(set_on, best.statistic, so_far, best.min_tokens, threshold, goal)
    return EarlyEntry(
        statistic=found.statistic,
        level=found.level,
        min_tokens=found.min_tokens,
        miss_rate=miss_rate,
        delta=delta,
        n=n,
        misses=found.misses,
        stopped=found.stopped,
        tokens_saved=found.saved,
    )


class _Setting(NamedTuple):
    statistic: Statistic
    min_tokens: int
    level: float
    misses: int
    stopped: float
    #: Share of device tokens, with those that ending for certain saves.
    saved: float


def _so_far(statistic: Statistic, logprobs: Sequence[Sequence[float]]) -> Floats:
    """T_n of each response, `(n, N - 1)`, N the longest; -inf from a response's last token on."""
    width = max(map(len, logprobs))
    values = np.full((len(logprobs), width), -np.inf)
    for row, one in zip(values, logprobs, strict=True):
        nll = -np.array(one[:-1])
        # In the order and with the operations of `EarlyStop`, to the last bit.
        if statistic == "min":
            row[: nll.size] = np.maximum.accumulate(nll)
        else:
            row[: nll.size] = np.cumsum(nll)
            if statistic == "mean":
                row[: nll.size] /= np.arange(1, nll.size + 1)
    return values


def _set(
    responses: Responses,
    statistic: Statistic,
    so_far: Floats,
    min_tokens: int,
    threshold: float,
    goal: EarlyGoal,
) -> _Setting:
    """The lowest level that passes the test, and what it does."""
    eligible = np.where(np.arange(1, so_far.shape[1] + 1) >= min_tokens, so_far, -np.inf)
    greatest = eligible.max(axis=1)
    kept = responses.scores < threshold
    risky = np.sort(greatest[kept])[::-1]
    risky = risky[np.isfinite(risky)]
    allowed = most_misses(kept.size, *goal)
    # No statistic is below 0, where every response is stopped that is long enough.
    level = float(np.nextafter(risky[allowed], np.inf)) if risky.size > allowed else 0.0
    stops = greatest >= level
    lengths = np.array([len(one) for one in responses.logprobs])
    at = np.where(stops, (eligible >= level).argmax(axis=1) + 1, lengths)
    spent = np.minimum(at, responses.certain_at).sum()
    return _Setting(
        statistic,
        min_tokens,
        level,
        misses=int((stops & kept).sum()),
        stopped=share_of(stops),
        saved=1.0 - float(spent) / int(lengths.sum()),
    )
