"""Pings a profile in virtual time: what do round trips take on it? Knows no socket."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network.delay_lines import DelayLine
from escalade.simulator.network.profiles import Chance, Profile
from escalade.simulator.network.stages import Conditions

#: What `ping` sends: 56 bytes and a header of 8 (ping(8)).
_PING_BYTES = 64

#: Of a second, or of the longest cycle, between two: no cycle is met at the same moments again, and
#: the longest at all of its moments alike.
_GOLDEN = (5**0.5 - 1) / 2

#: Outages by chance that are drawn in a moment.
_MOST_DRAWN = 100_000


@dataclass(frozen=True)
class Pings:
    """Round trips over one connection.

    Attributes:
        sent_s: `(N,)` when each began.
        rtt_s: `(N,)` how long it took.
    """

    sent_s: NDArray[np.float64]
    rtt_s: NDArray[np.float64]


def span_s(profiles: Sequence[Profile], turns: int) -> float:
    """So many seconds as whatever comes now and then on any of these comes so often in, on average.

    Less where outages by chance, which are drawn one by one, would be too many.
    """
    chances = [one.every_s for each in profiles for one in each.outages if isinstance(one, Chance)]
    longest_s = max([each.period_s for each in profiles] + chances)
    return min(turns * longest_s, _MOST_DRAWN * min(chances, default=math.inf))


def ping(profile: Profile, count: int, *, every_s: float | None = None, seed: int) -> Pings:
    """Send so many pings, whether or not the one before has come back.

    Args:
        profile: the network.
        count: how many.
        every_s: from one to the next; None is what makes them a sample of all that the network
            does, however seldom.
        seed: of what chance does.

    Raises:
        SimulatorError: the seed is negative.
    """
    if seed < 0:
        raise SimulatorError(f"seed must be >= 0; got {seed}")
    if every_s is None:
        every_s = _GOLDEN * max(1.0, span_s([profile], count) / count)
    rng = np.random.default_rng(seed)
    shared = Conditions(profile, rng)
    up, down = DelayLine(profile, "up", rng, shared), DelayLine(profile, "down", rng, shared)
    sent_s = np.arange(count, dtype=np.float64) * every_s
    back_s = [down.release_s(up.release_s(at_s, _PING_BYTES), _PING_BYTES) for at_s in sent_s]
    return Pings(sent_s=sent_s, rtt_s=np.array(back_s) - sent_s)
