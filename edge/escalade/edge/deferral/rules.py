"""Deferral rules: pure functions of the token log-probabilities; knows no network, no model.

A rule gives the deferral score `r(x)` of a response; the query is deferred when
`r(x) >= tau`. Higher means less sure. The rules are those of the CAT paper (arXiv
2406.00060): equation 5 and appendix C.1, which takes the quantiles from Gupta et al.
2024 (arXiv 2404.10136). Appendix B's learned router is in `router.py`.

A token of probability zero (`-inf`) is as unsure as can be: a score that looks at it is
`inf`, which defers at every threshold. A value that is no log-probability (NaN, `inf`)
makes the score NaN, and that defers too: a broken model does not answer.

A rule also bounds the score while the response is still being written (`bound`): no
continuation can bring it lower. That rests on `log p <= 0`, which a runtime's
`max - logsumexp` keeps in floating point too: the sum under the logarithm is at least 1,
and rounding is monotone.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escalade.edge.base import nearest

_QUANTILE = "quantile"
#: Half the distance from 1.0 to the next double: the most by which one operation is off,
#: relative to its result (Higham 2002, Accuracy and Stability, section 2.1).
UNIT_ROUNDOFF = 2.0**-53
# The least normal double. Below it errors are no longer relative.
_LEAST_NORMAL = 2.0**-1022

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

        The greatest lower bound over all continuations to n, n + 1, ... or `longest` tokens,
        each with a log-probability in [-inf, 0]; lowered by what rounding may take from a
        score (each rule says how much), so that it holds for the number that the rule
        returns, not only for the number it stands for. A prefix with a NaN or `inf` has
        `inf`: its score is NaN, which defers at every threshold.

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


class MeanRule(DeferralRule):
    """Normalized negative log-likelihood, equation 5 of the CAT paper (arXiv 2406.00060).

    `r(x) = -(1/N) sum_i log p_S(y_i | x, y_<i)`, over the N generated tokens, the
    end-of-sequence token included: ending here is a choice of the model too.

    Bound, with S >= 0 the negated sum of the prefix and L the longest response: `S / L`.
    A continuation to N <= L tokens adds F >= 0, and `(S + F) / N >= S / N >= S / L`.
    Equality: L - n tokens of probability 1.

    Rounding: all summands have one sign, so a sum of N of them in any order is off by at most
    (N - 1) units of roundoff, relatively (Higham 2002, equation 4.4); a division adds one.
    Score and bound together are off by fewer than 2 L + 2 units; the bound gives away
    4 L + 8.
    """

    name = "mean"

    def __call__(self, logprobs: ArrayLike) -> float:
        """See `DeferralRule`."""
        return float(-token_logprobs(logprobs).mean())

    def _running(self, longest: int) -> RunningBound:
        total, units = 0.0, 4 * longest + 8

        def step(logprob: float) -> float:
            nonlocal total
            total -= logprob
            return _lowered(total / longest, units)

        return step


class SumRule(DeferralRule):
    """Negative log-likelihood of the whole response (C.1, 'sum'): long ones score higher.

    Bound: that of the prefix, S. A continuation adds F >= 0. Equality: ending here, or tokens
    of probability 1. Rounding: as for the mean, without the division.
    """

    name = "sum"

    def __call__(self, logprobs: ArrayLike) -> float:
        """See `DeferralRule`."""
        return float(-token_logprobs(logprobs).sum())

    def _running(self, longest: int) -> RunningBound:
        total, units = 0.0, 4 * longest + 8

        def step(logprob: float) -> float:
            nonlocal total
            total -= logprob
            return _lowered(total, units)

        return step


class QuantileRule(DeferralRule):
    """The rule `-quantile_q(log p)`, linear between neighbours (ChowQuantile-q).

    q = 0 is the least sure token, appendix B's baseline; q = 1 the surest. The paper also
    tries 0.4 and 0.8 (C.1).

    Bound: the score of the prefix with L - n tokens of probability 1 (zeros) after it, L
    being the longest response. Let f be the rising values of a response v of N tokens, joined
    by straight lines; the quantile is f at q (N - 1).

    1. It does not fall when a value rises, for no point of f does. So among the responses of N
       tokens the prefix with zeros after it has the greatest quantile.
    2. Another zero after those does not lower it: no value is above zero, so that f is kept
       and goes on to one more point, without falling, and q N >= q (N - 1).

    By 2 the longest such response has the greatest quantile: the lowest score. The bound is
    that score, so it is attained. For q = 0 it is the prefix's own, for q = 1 it is 0 until
    the last token.

    Rounding: `q (N - 1)` is rounded, which keeps order (2 holds of the rounded positions
    too). What follows is a sum of two products of one sign, off by at most 4 units on either
    side; the bound gives away 16, and nothing at q = 0 and 1, where nothing is rounded.
    """

    def __init__(self, q: float) -> None:
        """Take the quantile.

        Args:
            q: which quantile of the N log-probabilities, in [0, 1].

        Raises:
            ValueError: q is out of range.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q must be a number in [0, 1], got {q}")
        self.q = q

    @property
    def name(self) -> str:
        """What manifests and traces call it."""
        return {0.0: "min", 1.0: "max"}.get(self.q, f"{_QUANTILE}:{self.q!r}")

    def __call__(self, logprobs: ArrayLike) -> float:
        """See `DeferralRule`."""
        rising = np.sort(token_logprobs(logprobs))
        return self._at(rising.size, lambda index: float(rising[index]))

    def _at(self, size: int, value: Callable[[int], float]) -> float:
        """The score of `size` values, given by their place in rising order."""
        # numpy.quantile subtracts neighbours, and -inf from -inf is NaN.
        position = self.q * (size - 1)
        lower = int(position)
        share = position - lower
        if share == 0.0:
            return -value(lower)
        return -((1.0 - share) * value(lower) + share * value(lower + 1))

    def _running(self, longest: int) -> RunningBound:
        rising: list[float] = []
        units = 0 if self.q in {0.0, 1.0} else 16

        def padded(index: int) -> float:
            return rising[index] if index < len(rising) else 0.0

        def step(logprob: float) -> float:
            bisect.insort(rising, logprob)
            return _lowered(self._at(longest, padded), units)

        return step


#: Equation 5, the default.
mean_nll = MeanRule()

#: The rules without a parameter, by the name that manifests and traces use. `min` and `max`
#: are of the log-probabilities, as in the paper: the least sure token, and the surest.
RULES: dict[str, DeferralRule] = {
    rule.name: rule for rule in (mean_nll, SumRule(), QuantileRule(0.0), QuantileRule(1.0))
}


def rule_named(name: str) -> DeferralRule:
    """The rule that a manifest, a trace or a user calls by name.

    Args:
        name: a key of `RULES`, or `quantile:Q` with Q in [0, 1], e.g. `quantile:0.4`. A
            router is more than its name: see `escalade.edge.deferral.rule_of`.

    Raises:
        ValueError: there is no such rule; the message lists all and the nearest.
    """
    if name in RULES:
        return RULES[name]
    kind, _, parameter = name.partition(":")
    if kind == _QUANTILE:
        try:
            return QuantileRule(float(parameter))
        except ValueError:
            raise ValueError(
                f"rule {name[:80]!r}: Q of {_QUANTILE}:Q must be a number in [0, 1], got"
                f" {parameter[:80]!r}"
            ) from None
    hint = nearest(kind, (*RULES, _QUANTILE))
    raise ValueError(
        f"rule must be one of {', '.join(RULES)}, {_QUANTILE}:Q (Q in [0, 1]), got {name[:80]!r}"
        f"{hint}; `escalade calibrate` also makes router (from a trace) and vote (of an ensemble)"
    )


@overload
def defers(score: float, threshold: float) -> bool: ...
@overload
def defers(score: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]: ...
def defers(score: float | NDArray[np.float64], threshold: float) -> bool | NDArray[np.bool_]:
    """Equation 4: the next tier answers when `r(x) >= tau`; a NaN score always defers.

    Args:
        score: of one query, or of several, of any shape.
        threshold: tau.
    """
    below = score < threshold
    return ~below if isinstance(below, np.ndarray) else not below


def _lowered(score: float, units: int) -> float:
    """A score of 0 or more, less that many units of roundoff; never below 0."""
    if units == 0 or score == math.inf:
        return score
    return max(0.0, score - score * (units * UNIT_ROUNDOFF) - _LEAST_NORMAL)
