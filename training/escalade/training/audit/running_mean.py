"""An interval for how often something happens, whatever it depends on; knows no audit.

Of n events, each with a probability of its own given those before it, S happened. With p the mean
of the n probabilities,

    exp(t S - n log(1 - p + p exp(t)))

is at most a martingale for every t (the logarithm is concave in p: Jensen's inequality), and so is
its mixture over t of both signs. By Ville's inequality those p whose mixture stays below 1/alpha
are a confidence sequence for p (Howard et al. 2021, Time-uniform, nonparametric, nonasymptotic
confidence sequences, Annals of Statistics 49:1055-1080): whoever looks after every event, and stops
when it suits, is as safe as who looks once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from escalade.training.audit.mixture import LOG_WEIGHTS, TILTS, log_sum_exp

_TILTS = np.concatenate([TILTS, -TILTS])
_LOG_WEIGHTS = np.concatenate([LOG_WEIGHTS, LOG_WEIGHTS]) - math.log(2.0)
#: A bound is off by less than one in a million, and then too wide.
_HALVINGS = 20


def running_mean_interval(happened: int, n: int, alpha: float) -> tuple[float, float]:
    """The lowest and the highest mean probability that n events do not contradict.

    Args:
        happened: how many of them did, in 0..n.
        n: >= 0.
        alpha: the probability that the mean is outside at any time, in (0, 1).
    """
    if n == 0:
        return 0.0, 1.0

    def possible(p: float) -> bool:
        exponents = _TILTS * happened - n * np.log1p(p * np.expm1(_TILTS))
        return float(log_sum_exp(_LOG_WEIGHTS + exponents)) < -math.log(alpha)

    # At the share itself no tilt gains, so that what is possible lies around it.
    share = happened / n
    return _last(possible, share, 0.0), _last(possible, share, 1.0)


def _last(possible: Callable[[float], bool], inside: float, end: float) -> float:
    """The first value towards an end that is not possible; the end itself where it is."""
    if possible(end):
        return end
    outside = end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if possible(middle):
            inside = middle
        else:
            outside = middle
    return outside
