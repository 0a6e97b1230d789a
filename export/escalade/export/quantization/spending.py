"""Spends a budget of bytes on matrices, each where it saves most; knows not what is chosen from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from escalade.export.quantization.choice import Choice

# Between which prices of a byte in memory, in KL, one is looked for (SmolLM2's is 1e-9), and how
# often what is left is halved, as its logarithm: then it is known to a part in 10^10.
_CHEAP, _DEAR, _HALVINGS = 1e-18, 1e18, 40


class Offer(NamedTuple):
    """A choice, and what it comes to."""

    choice: Choice
    #: Of the matrix on disk.
    bytes: int
    #: Mean KL that it is expected to cost, in nats; not negative.
    lost: float
    #: Of the matrix in memory.
    held: int = 0


class HeldError(ValueError):
    """No choice of so few bytes is held in so few.

    Attributes:
        least: bytes in memory of the choice that is held in fewest.
    """

    def __init__(self, least: int, most: int) -> None:
        """See the class; `most` bytes in memory were asked for."""
        super().__init__(f"the fewest bytes in memory are {least}, the budget {most}")
        self.least = least


def spend(
    offers: Mapping[str, Sequence[Offer]], most: int, most_held: int | None = None
) -> dict[str, Offer]:
    """Of each matrix the offer by which the sum of what is lost is least within a budget.

    Where that is held in more memory than it may be, a byte of memory has a price (a Lagrange
    multiplier): the least by which it is held in no more.

    Args:
        offers: of each matrix, by its name; at least one.
        most: bytes in all.
        most_held: bytes in memory in all; None where they do not matter.

    Raises:
        ValueError: the fewest bytes are more than that.
        HeldError: what is so small is not held in so few.
    """
    chosen = _spend(offers, most, 0.0)
    if most_held is None or _held(chosen) <= most_held:
        return chosen
    low, high = _CHEAP, _DEAR
    chosen = _spend(offers, most, high)
    if _held(chosen) > most_held:
        raise HeldError(_held(chosen), most_held)
    for _ in range(_HALVINGS):
        price = math.sqrt(low * high)
        found = _spend(offers, most, price)
        if _held(found) <= most_held:
            high, chosen = price, found
        else:
            low = price
    return chosen


def _held(chosen: Mapping[str, Offer]) -> int:
    return sum(offer.held for offer in chosen.values())


def _spend(offers: Mapping[str, Sequence[Offer]], most: int, price: float) -> dict[str, Offer]:
    """Greedy by marginal gain.

    Every matrix begins with its fewest bytes and goes up the convex hull of its offers, the step
    first that saves most a byte. The sum is the least that any choice of no more bytes could have,
    but where the last steps do not fit.

    Args:
        offers: see `spend`.
        most: see `spend`.
        price: of a byte in memory, as much as so much KL.
    """
    hulls = {name: _hull(some, price) for name, some in offers.items()}
    chosen = {name: hull[0] for name, hull in hulls.items()}
    left = most - sum(offer.bytes for offer in chosen.values())
    if left < 0:
        raise ValueError(f"the fewest bytes are {most - left}, the budget {most}")
    steps = sorted(
        (
            (-_gain(before, after, price), name, index)
            for name, hull in hulls.items()
            for index, (before, after) in enumerate(pairwise(hull), start=1)
        ),
    )
    stopped: set[str] = set()
    for _, name, index in steps:
        after = hulls[name][index]
        more = after.bytes - chosen[name].bytes
        if name in stopped or more > left:
            stopped.add(name)
            continue
        chosen[name] = after
        left -= more
    return chosen


def _cost(offer: Offer, price: float) -> float:
    return offer.lost + price * offer.held


def _gain(before: Offer, after: Offer, price: float) -> float:
    return (_cost(before, price) - _cost(after, price)) / (after.bytes - before.bytes)


def _hull(offers: Sequence[Offer], price: float) -> list[Offer]:
    """From the fewest bytes up those offers whose gain a byte falls from each to the next."""
    hull: list[Offer] = []
    for offer in sorted(offers, key=lambda one: (one.bytes, _cost(one, price))):
        if hull and _cost(offer, price) >= _cost(hull[-1], price):
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1], price) <= _gain(hull[-1], offer, price):
            hull.pop()
        hull.append(offer)
    return hull
