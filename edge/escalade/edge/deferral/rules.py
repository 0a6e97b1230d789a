"""Deferral rules: pure functions of the token log-probabilities; knows no network, no model.

The rules are those of the CAT paper (arXiv 2406.00060): equation 5 and appendix C.1, which
takes the quantiles from Gupta et al. 2024 (arXiv 2404.10136). Appendix B's learned router is
in `router.py`. The bounds are proved in docs/deferral.md.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escalade.edge.base import nearest
from escalade.edge.deferral.rule import UNIT_ROUNDOFF, DeferralRule, RunningBound, token_logprobs

_QUANTILE = "quantile"
# The least normal double. Below it errors are no longer relative.
_LEAST_NORMAL = 2.0**-1022


class MeanRule(DeferralRule):
    """Normalized negative log-likelihood, equation 5 of the CAT paper (arXiv 2406.00060).

    `r(x) = -(1/N) sum_i log p_S(y_i | x, y_<i)`, over the N generated tokens, the
    end-of-sequence token included: ending here is a choice of the model too.

    Bound: the prefix's score with tokens of probability 1 up to the longest response L; it
    gives away 4 L + 8 units of roundoff.
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

    Bound: the prefix's score; it gives away 4 L + 8 units of roundoff.
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

    Bound: the prefix's score with tokens of probability 1 up to the longest response; it gives
    away 16 units of roundoff, and nothing at q = 0 and 1, where nothing is rounded.
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
        f"{hint}; `escalade calibrate` also makes router (from a trace), and several members vote"
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
