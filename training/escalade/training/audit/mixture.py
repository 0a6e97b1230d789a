"""The bets that confidence sequences here mix over; knows no audit.

A bet tilts a coin's log-odds by t, up or down. Small tilts find small differences after many
coins, large tilts large ones after few, and nobody knows which it will be: a sum over all of
them, each with its weight, is worth nearly what the best one is worth (the method of mixtures,
Robbins 1970, Annals of Mathematical Statistics 41:1397-1409).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Geometric, because the best tilt falls with the root of the count: the smallest here is best
# after some 10^6 disagreements. The weights have their peak where 20 to 100 disagreements have
# their best tilt; there the interval is 1.5 times as wide as Clopper and Pearson's, which holds
# at one time only, and 2.1 times after 1,200 (tests/training/audit/test_confidence_sequence.py).
_STEPS = np.arange(20)
_LARGEST, _RATIO = 4.0, math.sqrt(0.5)
_PEAK, _SPREAD = 0.4, 0.7

TILTS: Floats = _LARGEST * np.power(_RATIO, _STEPS, dtype=np.float64)
_WEIGHTS: Floats = 1.0 / (1.0 + (np.log(TILTS / _PEAK) / _SPREAD) ** 2)
LOG_WEIGHTS: Floats = np.log(_WEIGHTS / _WEIGHTS.sum())


def log_sum_exp(values: Floats) -> Floats:
    """The logarithm of the sum of exponentials, over the last axis."""
    largest = values.max(axis=-1, keepdims=True)
    summed: Floats = np.log(np.exp(values - largest).sum(axis=-1)) + largest[..., 0]
    return summed
