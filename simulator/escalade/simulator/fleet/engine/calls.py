"""Queries on their way up, as arrays; knows neither who sends them nor what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import Bools, Floats, Ints


class Calls(NamedTuple):
    """Queries on their way up, N of them.

    Attributes:
        at_s: when the call comes to the cloud, or to a gateway, or its device goes past that.
        came_s: when the query came to its device.
        first_s: when it first left it, or its gateway.
        key: see `key_of`.
        attempt: how many failed before; of one past its gateway `PAST` beside.
    """

    at_s: Floats
    came_s: Floats
    first_s: Floats
    key: Ints
    attempt: Ints


def empty_calls(many: int) -> Calls:
    """Room for so many."""
    times, whole = np.empty((3, many)), np.empty((2, many), np.int64)
    return Calls(*times, *whole)


@inner
def put_call(
    out: Calls, size: int, at_s: float, came_s: float, first_s: float, key: int, attempt: int
) -> int:
    """Write a call behind so many; returns how many there are."""
    out.at_s[size] = at_s
    out.came_s[size] = came_s
    out.first_s[size] = first_s
    out.key[size] = key
    out.attempt[size] = attempt
    return size + 1


def joined(calls: Sequence[Calls]) -> Calls:
    """All of them, one behind the other."""
    return Calls(
        np.concatenate([one.at_s for one in calls]),
        np.concatenate([one.came_s for one in calls]),
        np.concatenate([one.first_s for one in calls]),
        np.concatenate([one.key for one in calls]),
        np.concatenate([one.attempt for one in calls]),
    )


def copied(calls: Calls, which: slice | Bools) -> Calls:
    """Some of them, in arrays of their own."""
    return Calls(
        calls.at_s[which].copy(),
        calls.came_s[which].copy(),
        calls.first_s[which].copy(),
        calls.key[which].copy(),
        calls.attempt[which].copy(),
    )


@compiled
def settle_ties(calls: Calls, order: Ints) -> None:
    """Put calls that come at one time into the order of their keys."""
    for end in range(1, len(order)):
        at = end
        while at > 0 and calls.at_s[order[at - 1]] == calls.at_s[order[at]]:
            if calls.key[order[at - 1]] < calls.key[order[at]]:
                break
            order[at - 1], order[at] = order[at], order[at - 1]
            at -= 1
