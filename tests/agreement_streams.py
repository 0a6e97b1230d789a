"""Streams of agreements with known probabilities, constant, rising and falling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def constant(n: int) -> NDArray[np.float64]:
    return np.full(n, 0.9)


def rising(n: int) -> NDArray[np.float64]:
    """As a cascade that learns: from 0.6 to 0.9."""
    return 0.9 - 0.3 * np.exp(-6 * np.arange(n) / n)


def falling(n: int) -> NDArray[np.float64]:
    """From 0.9 to 0.7 at once, in the middle."""
    return np.where(np.arange(n) < n // 2, 0.9, 0.7)


SHAPES: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "constant": constant,
    "rising": rising,
    "falling": falling,
}


def agreements(shape: str, n: int, seed: int) -> Bools:
    generator = np.random.default_rng([97, seed])
    return generator.random(n) < SHAPES[shape](n)
