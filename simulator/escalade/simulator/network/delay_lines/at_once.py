"""Many calls at once, each on idle lines of its own: `DelayLine` written over arrays.

To the last bit what one line after the other gives to the same numbers; knows no trace. Where it
depends on what was drawn how often is drawn again (spreads, bursts, outages by chance), and over
traces, lines go one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.network.delay_lines.delay_line import Direction
from escalade.simulator.network.delay_lines.probes import PING_BYTES
from escalade.simulator.network.profiles import Chance, Cycle, Profile
from escalade.simulator.network.stages import (
    RTO_MIN_S,
    begins_from,
    packets_of,
    seconds_per_byte,
    share_stalled,
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def draws_of(profile: Profile) -> int | None:
    """How many numbers a call takes, there and back; None where that is not known beforehand."""
    held = (
        profile.spread, profile.bursts, profile.rtt_trace, profile.up_trace, profile.down_trace
    )  # fmt: skip
    by_chance = any(isinstance(one, Chance) for one in profile.outages)
    if by_chance or any(one is not None for one in held):
        return None
    chunks = 3 if profile.loss else 2  # with the ping ahead of an answer, see `answered_s`
    return bool(profile.period_s) + chunks * (bool(profile.jitter_ms) + bool(profile.loss))


def calls_s(
    profile: Profile, drawn: Floats, up: Counts, between_s: Floats, down: Counts
) -> tuple[Floats, Floats]:
    """When N calls, each of which is sent at 0, have come, and when their answers are back.

    Args:
        profile: of which `draws_of` is no None.
        drawn: `(draws_of(profile), N)` uniform in [0, 1), in the order a call draws them.
        up: `(N,)` bytes that go up.
        between_s: `(N,)` seconds from there to the answer.
        down: `(N,)` bytes that come down.

    Returns:
        Each `(N,)`.
    """
    left = iter(drawn)
    begins_s = begins_from(profile, next(left)) if profile.period_s else np.zeros(len(up))
    there_s, _ = _released_s(profile, "up", np.zeros(len(up)), up, begins_s, left)
    held_s = free_s = np.full(len(up), -math.inf)
    if profile.loss:
        pings = np.full(len(up), PING_BYTES)
        held_s, free_s = _released_s(profile, "down", there_s, pings, begins_s, left)
    leaves_s = there_s + between_s
    back_s, _ = _released_s(profile, "down", leaves_s, down, begins_s, left, free_s)
    return there_s, np.maximum(held_s, back_s)


def _released_s(
    profile: Profile,
    direction: Direction,
    at_s: Floats,
    nbytes: Counts,
    begins_s: Floats,
    drawn: Iterator[Floats],
    free_s: Floats | None = None,
) -> tuple[Floats, Floats]:
    """The stages of `DelayLine`, in its order; and from when the link is free, as it was given."""
    cycles = [one for one in profile.outages if isinstance(one, Cycle)]
    if cycles:
        at_s = _back_s(cycles, at_s, begins_s)
    mbps = profile.up_mbps if direction == "up" else profile.down_mbps
    if mbps is not None:
        at_s = at_s if free_s is None else np.maximum(at_s, free_s)
        at_s = at_s + nbytes * seconds_per_byte(mbps)
    free_s = at_s
    at_s = at_s + profile.floor_ms / 1e3
    if profile.jitter_ms:
        # math's logarithm: that of an array may differ from it in the last bit.
        waits = [-math.log1p(-one) for one in next(drawn).tolist()]
        at_s = at_s + profile.jitter_ms / 1e3 * np.array(waits)
    if profile.spikes:
        on_s = at_s - begins_s
        lasting = [(one.rest_s(on_s) > 0) * one.extra_rtt_ms for one in profile.spikes]
        at_s = at_s + sum(lasting, np.zeros(len(at_s))) / 2 / 1e3
    if profile.loss:
        at_s = np.where(
            next(drawn) < _stalled(profile.loss, nbytes),
            at_s + (profile.rtt_ms / 1e3 + RTO_MIN_S),
            at_s,
        )
    return at_s, free_s


def _back_s(cycles: list[Cycle], at_s: Floats, begins_s: Floats) -> Floats:
    there_s, before_s = at_s, at_s - 1.0
    while not np.array_equal(there_s, before_s):
        before_s = there_s
        for cycle in cycles:
            there_s = there_s + np.maximum(0.0, cycle.rest_s(there_s - begins_s))
    return there_s


def _stalled(loss: float, nbytes: Counts) -> Floats:
    sizes, which = np.unique(nbytes, return_inverse=True)
    return np.array([share_stalled(loss, packets_of(size)) for size in sizes.tolist()])[which]
