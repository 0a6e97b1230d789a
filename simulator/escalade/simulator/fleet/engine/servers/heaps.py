"""What comes first: a binary heap, and a tournament of a fixed number of players; knows no query.

Both break ties, so that who comes first never depends on what came before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import Floats, Ints

Places = NDArray[np.int32]


@inner
def _before(keys: Floats, ties: Ints, one: int, other: int) -> bool:
    if keys[one] != keys[other]:
        return bool(keys[one] < keys[other])
    return bool(ties[one] < ties[other])


@inner
def _swap(keys: Floats, ties: Ints, items: Places, one: int, other: int) -> None:
    keys[one], keys[other] = keys[other], keys[one]
    ties[one], ties[other] = ties[other], ties[one]
    items[one], items[other] = items[other], items[one]


@inner
def push(
    keys: Floats, ties: Ints, items: Places, size: int, key: float, tie: int, item: int
) -> None:
    """Add to a heap of so many, which has room; the least key, then tie, stands at 0."""
    at = size
    keys[at], ties[at], items[at] = key, tie, item
    while at > 0 and _before(keys, ties, at, (at - 1) // 2):
        _swap(keys, ties, items, at, (at - 1) // 2)
        at = (at - 1) // 2


@inner
def pop(keys: Floats, ties: Ints, items: Places, size: int) -> int:
    """Take the first from a heap of so many, at least 1."""
    first = int(items[0])
    last = size - 1
    keys[0], ties[0], items[0] = keys[last], ties[last], items[last]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            return first
        if child + 1 < last and _before(keys, ties, child + 1, child):
            child += 1
        if not _before(keys, ties, child, at):
            return first
        _swap(keys, ties, items, at, child)
        at = child


@compiled
def play(winners: Places, keys: Floats, player: int) -> None:
    """Say who has the least key after one player's has changed; of equal ones the lowest number.

    Args:
        winners: `(2P,)`, P a power of 2; the winner of all stands at 1.
        keys: `(P,)`.
        player: whose key it is.
    """
    at = (player + keys.shape[0]) // 2
    while at >= 1:
        left, right = winners[2 * at], winners[2 * at + 1]
        winners[at] = right if keys[right] < keys[left] else left
        at //= 2


def tournament(keys: Floats) -> Places:
    """The winners among players with these keys; their number is a power of 2."""
    players = len(keys)
    winners = np.concatenate([np.zeros(players), np.arange(players)]).astype(np.int32)
    for player in range(0, players, 2):
        play(winners, keys, player)
    return winners
