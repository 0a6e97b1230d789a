"""What a deferral rule is: a score, and what is certain of it early; knows no rule by name.

A rule gives the deferral score `r(x)` of a response; the query is deferred when
`r(x) >= tau`. Higher means less sure.

A token of probability zero (`-inf`) is as unsure as can be: a score that looks at it is
`inf`, which defers at every threshold. A value that is no log-probability (NaN, `inf`)
makes the score NaN, and that defers too: a broken model does not answer.

A rule also bounds the score while the response is still being written (`bound`): no
continuation can bring it lower. That rests on `log p <= 0`, which a runtime's
`max - logsumexp` keeps in floating point too: the sum under the logarithm is at least 1,
and rounding is monotone. The proofs are in docs/deferral.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Half the distance from 1.0 to the next double: the most by which one operation is off,
#: relative to its result (Higham 2002, Accuracy and Stability, section 2.1).
UNIT_ROUNDOFF = 2.0**-53

#: Takes the next token's log-probability, gives the bound with that token seen.
RunningBound = Callable[[float], float]


class DeferralRule(ABC):
    """The deferral score of a response, and what is certain of it before the response ends."""

    @property
    def lowest(self) -> float:
        """No response scores lower: the bound before the first token."""
        return 0.0

    @property
    @abstractmethod
    def name(self) -> str:
        """What manifests and traces call it."""

    @abstractmethod
    def __call__(self, logprobs: ArrayLike) -> float:
        """The deferral score of a response; NaN, which defers, where a value is NaN or `inf`.

        Args:
            logprobs: `(N,)` natural logarithms, N >= 1.

        Raises:
            ValueError: there is no token to score.
        """

    @abstractmethod
    def _running(self, longest: int) -> RunningBound:
        """The bound of log-probabilities that are none of them NaN or `inf`."""

    def running_bound(self, longest: int) -> RunningBound:
        """The bound as tokens come: `bound` of one more token for each call.

        Args:
            longest: how many tokens the response may have, >= 1.

        Returns:
            A function that takes one log-probability after the other, at most `longest`; it
            raises ValueError at one more.

        Raises:
            ValueError: `longest` is out of range.
        """
        if longest < 1:
            raise ValueError(f"longest must be at least 1, got {longest}")
        step = self._running(longest)
        seen, broken = 0, False

        def add(logprob: float) -> float:
            nonlocal seen, broken
            seen += 1
            if seen > longest:
                raise ValueError(f"a response of at most {longest} tokens has a token {seen}")
            broken = broken or math.isnan(logprob) or logprob == math.inf
            return math.inf if broken else step(logprob)

        return add

    def bound(self, prefix: ArrayLike, longest: int) -> float:
        """What the score of no response that begins with these tokens comes below.

        It holds for the number that the rule returns, rounding included, not only for the
        number it stands for. A prefix with a NaN or `inf` has `inf`: its score is NaN, which
        defers at every threshold.

        Args:
            prefix: `(n,)` natural logarithms, 1 <= n <= `longest`.
            longest: how many tokens the response may have.

        Raises:
            ValueError: the prefix is empty, or longer than `longest`.
        """
        add = self.running_bound(longest)
        values = np.asarray(prefix, dtype=np.float64)
        token_logprobs(values)
        bound = self.lowest
        for value in values.tolist():
            bound = add(value)
        return bound


def token_logprobs(logprobs: ArrayLike) -> NDArray[np.float64]:
    """The log-probabilities of a response, checked: what every rule begins with.

    Args:
        logprobs: `(N,)` natural logarithms, N >= 1.

    Returns:
        `(N,)`; all NaN where one of them is NaN or `inf`.

    Raises:
        ValueError: there is no token to score.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"logprobs must have shape (N,) with N >= 1, got {values.shape}")
    broken = bool(np.isnan(values).any() or np.isposinf(values).any())
    return np.full_like(values, np.nan) if broken else values
