"""What a sample lets one say of a mean, and with what confidence; knows no score, no model.

A p-value here is a number of which `P(p <= u) <= u` for every u where the null hypothesis
holds, at every sample size: nothing is asymptotic. Observations are independent and of one
distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Waudby-Smith and Ramdas 2024 truncate bets at 1/2 or 3/4 of the largest allowed. On the
# bundled cascade 3/4 certifies lower deferral rates from few queries, and the same from many.
_LARGEST_BET = 0.75
# The quantile of the normal distribution that 95 % lie within.
_Z = 1.959963984540054
# Relative room for the rounding of `lgamma`, upwards: no p-value comes out too small.
_ROUNDING = 1e-9


def p_mean_reaches(values: ArrayLike, bound: float, delta: float) -> float:
    """A p-value of 'the mean is at least `bound`', for values in [-1, 1], by betting.

    `1 / max K`, with K the capital of somebody who bets on each value's falling below the bound
    (Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting,
    JRSS-B 86:1-27, section 4). The bets are their predictable plug-in for a fixed n: any others
    would be as valid, these make K grow fast where the variance is small. See docs/deferral.md.

    Args:
        values: `(n,)`, n >= 1, in an order that the values did not choose.
        bound: in (-1, 1).
        delta: the level that the p-value will be held against; the bets are tuned to it.
    """
    x = np.asarray(values, dtype=np.float64)
    seen = np.arange(1, x.size + 1)
    mean = np.cumsum(x) / (seen + 1)
    # 1/4 on [0, 1] is 1 on [-1, 1]. The last variance is of all values: no bet may know it.
    variance = np.append(1.0, (1.0 + np.cumsum((x - mean) ** 2)) / (seen + 1))[:-1]
    plug_in = np.sqrt(2.0 * math.log(1.0 / delta) / (x.size * variance))
    bets = np.minimum(plug_in, _LARGEST_BET / (1.0 - bound))
    capital = np.cumsum(np.log1p(-bets * (x - bound)))
    return math.exp(-max(0.0, float(capital.max())))


def most_misses(n: int, share: float, delta: float) -> int:
    """How many of n may miss for 'more than this share miss' to be rejected at level delta.

    The largest k with `P(X <= k) <= delta` for X binomial(n, share), for delta below 1; -1 where
    not even none will do. Clopper and Pearson 1934, Biometrika 26:404-413, turned round.
    """
    k, tail = -1, 0.0
    while (tail := tail + _binomial(k + 1, n, share) * (1.0 + _ROUNDING)) <= delta:
        k += 1
    return k


def _binomial(k: int, n: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927, JASA 22:209-212)."""
    spread = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
    centre = rate + _Z**2 / (2 * n)
    scale = 1 + _Z**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def share_of(mask: NDArray[np.bool_]) -> float:
    """How many of the entries are true; `(n,)`, n >= 1."""
    return float(np.count_nonzero(mask)) / mask.size
