"""Deferral rules: pure functions of the token log-probabilities; knows no network, no model.

A rule gives the deferral score `r(x)` of a response; the query is deferred when
`r(x) >= tau`. Higher means less sure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

DeferralRule = Callable[[ArrayLike], float]


def mean_nll(logprobs: ArrayLike) -> float:
    """Normalized negative log-likelihood, equation 5 of the CAT paper (arXiv 2406.00060).

    `r(x) = -(1/N) sum_i log p_S(y_i | x, y_<i)`, over the N generated tokens, the
    end-of-sequence token included: ending here is a choice of the model too.

    Args:
        logprobs: `(N,)` natural logarithms, N >= 1.

    Raises:
        ValueError: there is no token to score.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"logprobs must have shape (N,) with N >= 1, got {values.shape}")
    return float(-values.mean())


#: Every rule by the name that manifests and traces use.
RULES: dict[str, DeferralRule] = {"mean": mean_nll}


def defers(score: float, threshold: float) -> bool:
    """Equation 4: the large model answers when `r(x) >= tau`; a NaN score always defers."""
    return not score < threshold
