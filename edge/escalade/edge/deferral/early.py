"""Ends a response before it is complete, where its query will be deferred anyway.

Knows no model and no network. `escalade.edge.calibration` finds when that is likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from escalade.edge.deferral.entry import EarlyEntry, Statistic
from escalade.edge.deferral.rule import DeferralRule, RunningBound


class EarlyStop:
    """Whether a response may end here: its query is certain, or likely, to be deferred.

    One for each response; ask it after each token. It looks at every log-probability once.

    Example:
        >>> stop = EarlyStop(rule, threshold=0.5, longest=32)
        >>> while not stop(logprobs):
        ...     logprobs.append(next_logprob())
    """

    def __init__(
        self,
        rule: DeferralRule,
        threshold: float,
        longest: int,
        *,
        likely: EarlyEntry | None = None,
    ) -> None:
        """Begin a response.

        Args:
            rule: the deferral rule.
            threshold: tau.
            longest: how many tokens the response may have, >= 1.
            likely: stop too where deferral is likely, as calibrated under this rule and
                threshold.

        Raises:
            ValueError: `longest` is out of range.
        """
        self._threshold = threshold
        self._bound: RunningBound = rule.running_bound(longest)
        self._likely = likely
        self._statistic = None if likely is None else _Running(likely.statistic)
        self._seen = 0
        self._certain = threshold <= rule.lowest
        self._is_likely = False

    def __call__(self, logprobs: Sequence[float]) -> bool:
        """Whether to stop.

        Args:
            logprobs: of all tokens so far; those of the call before, and more.

        Raises:
            ValueError: there are more than `longest`.
        """
        return self.certain(logprobs) or self._is_likely

    def certain(self, logprobs: Sequence[float]) -> bool:
        """Whether every way to go on ends with a score that defers; see `DeferralRule.bound`.

        Once it is certain it stays so.
        """
        for index in range(self._seen, len(logprobs)):
            self._see(logprobs[index])
        return self._certain

    def _see(self, logprob: float) -> None:
        self._seen += 1
        self._certain |= self._bound(logprob) >= self._threshold
        if self._likely is not None and self._statistic is not None:
            reached = self._statistic(logprob) >= self._likely.level
            self._is_likely |= reached and self._seen >= self._likely.min_tokens


class _Running:
    """A rule of the tokens so far, token by token."""

    def __init__(self, statistic: Statistic) -> None:
        self._statistic = statistic
        self._seen, self._sum, self._most = 0, 0.0, -math.inf

    def __call__(self, logprob: float) -> float:
        self._seen += 1
        self._sum -= logprob
        self._most = max(self._most, -logprob)
        if self._statistic == "min":
            return self._most
        return self._sum if self._statistic == "sum" else self._sum / self._seen
