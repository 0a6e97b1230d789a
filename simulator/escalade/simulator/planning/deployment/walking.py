"""The best of many choices of which each costs a while to look at; knows no fleet.

Each has a bound: what it is worth is no less. Some ask for more than others, in several ways at
once: what is too much to ask is so of all that ask for as much or more in every way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from escalade.simulator.recorded import Bools, Floats

#: Choices that are looked at, at most.
MOST_TRIED = 40


def walk(
    bounds: Floats,
    asked: Floats,
    value_of: Callable[[int], float],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int | None:
    """The place of the choice of the least value, of those that are looked at; None of none.

    Looked at is the middle of those that are left, by their bounds, so that where better ones ask
    for more a few are enough. Left out is which cannot be better: its bound is no less than the
    best value; or it asks for as much in every way as one that came to more than its own bound.

    Args:
        bounds: `(M,)` values are no less.
        asked: `(M, K)` what each asks for; what is worth more than its bound is so for these.
        value_of: what the choice at a place is worth; infinity of one that will not do.
        progress: called with how many are looked at, and how many will have been at most.
    """
    order = np.lexsort((*asked.T, bounds))
    left = _frontier(np.column_stack([bounds, asked])[order])
    best, best_value = None, math.inf
    tried = 0
    while left.any() and tried < MOST_TRIED:
        places = np.flatnonzero(left)
        middle = places[(len(places) - 1) // 2]
        place = int(order[middle])
        value = value_of(place)
        tried += 1
        if value < best_value:
            best, best_value = place, value
        left[middle] = False
        left &= bounds[order] < best_value
        if value > bounds[place]:
            left &= ~(asked[order] >= asked[place]).all(axis=1)
        progress(tried, tried + int(left.sum()).bit_length())
    return best


def _frontier(rows: Floats) -> Bools:
    """Which rows `(M, K)` have no other that is as low in every way; the first of those alike."""
    kept = np.ones(len(rows), np.bool_)
    for place, row in enumerate(rows):
        if kept[place]:
            higher = (rows >= row).all(axis=1)
            higher[place] = False
            kept &= ~higher
    return kept
