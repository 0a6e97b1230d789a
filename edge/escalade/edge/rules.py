"""Deferral rules: pure functions of the token log-probabilities; knows no network, no model.

A rule gives the deferral score `r(x)` of a response; the query is deferred when
`r(x) >= tau`. Higher means less sure. The rules are those of the CAT paper (arXiv
2406.00060): equation 5 and appendix C.1, which takes the quantiles from Gupta et al.
2024 (arXiv 2404.10136). Appendix B's learned router is in `router.py`.

A token of probability zero (`-inf`) is as unsure as can be: a score that looks at it is
`inf`, which defers at every threshold. A value that is no log-probability (NaN, `inf`)
makes the score NaN, and that defers too: a broken model does not answer.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

DeferralRule = Callable[[ArrayLike], float]

_QUANTILE = "quantile"


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


def mean_nll(logprobs: ArrayLike) -> float:
    """Normalized negative log-likelihood, equation 5 of the CAT paper (arXiv 2406.00060).

    `r(x) = -(1/N) sum_i log p_S(y_i | x, y_<i)`, over the N generated tokens, the
    end-of-sequence token included: ending here is a choice of the model too.

    Args:
        logprobs: `(N,)` natural logarithms, N >= 1.

    Raises:
        ValueError: there is no token to score.
    """
    return float(-token_logprobs(logprobs).mean())


def sum_nll(logprobs: ArrayLike) -> float:
    """Negative log-likelihood of the whole response (C.1, 'sum'): long ones score higher.

    Arguments and errors are those of `mean_nll`.
    """
    return float(-token_logprobs(logprobs).sum())


def quantile_nll(q: float) -> DeferralRule:
    """The rule `-quantile_q(log p)`, linear between neighbours (ChowQuantile-q).

    q = 0 is the least sure token, appendix B's baseline; q = 1 the surest. The paper also
    tries 0.4 and 0.8 (C.1).

    Args:
        q: which quantile of the N log-probabilities, in [0, 1].

    Raises:
        ValueError: q is out of range.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q must be a number in [0, 1], got {q}")

    def rule(logprobs: ArrayLike) -> float:
        # numpy.quantile subtracts neighbours, and -inf from -inf is NaN.
        rising = np.sort(token_logprobs(logprobs))
        position = q * (rising.size - 1)
        lower = int(position)
        share = position - lower
        if share == 0.0:
            return float(-rising[lower])
        return float(-((1.0 - share) * rising[lower] + share * rising[lower + 1]))

    return rule


#: The rules without a parameter, by the name that manifests and traces use. `min` and `max`
#: are of the log-probabilities, as in the paper: the least sure token, and the surest.
RULES: dict[str, DeferralRule] = {
    "mean": mean_nll,
    "sum": sum_nll,
    "min": quantile_nll(0.0),
    "max": quantile_nll(1.0),
}


def rule_named(name: str) -> DeferralRule:
    """The rule that a manifest, a trace or a user calls by name.

    Args:
        name: a key of `RULES`, or `quantile:Q` with Q in [0, 1], e.g. `quantile:0.4`.

    Raises:
        ValueError: there is no such rule; the message lists all and the nearest.
    """
    if name in RULES:
        return RULES[name]
    kind, _, parameter = name.partition(":")
    if kind == _QUANTILE:
        try:
            return quantile_nll(float(parameter))
        except ValueError:
            raise ValueError(
                f"rule {name!r}: Q of {_QUANTILE}:Q must be a number in [0, 1], got {parameter!r}"
            ) from None
    near = difflib.get_close_matches(kind, (*RULES, _QUANTILE), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"rule must be one of {', '.join(RULES)}, {_QUANTILE}:Q (Q in [0, 1]), got {name!r}{hint}"
    )


def defers(score: float, threshold: float) -> bool:
    """Equation 4: the large model answers when `r(x) >= tau`; a NaN score always defers."""
    return not score < threshold
