"""Pings a profile in virtual time: what do round trips take on it? Knows no socket."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network.delay_lines import DelayLine
from escalade.simulator.network.profiles import Profile
from escalade.simulator.network.stages import Conditions

#: What `ping` sends: 56 bytes and a header of 8 (ping(8)).
_PING_BYTES = 64

#: Seconds between two: no cycle of a whole number of seconds is met at the same moments again.
_EVERY_S = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Pings:
    """Round trips over one connection.

    Attributes:
        sent_s: `(N,)` when each began.
        rtt_s: `(N,)` how long it took.
    """

    sent_s: NDArray[np.float64]
    rtt_s: NDArray[np.float64]


def ping(profile: Profile, count: int, *, every_s: float = _EVERY_S, seed: int) -> Pings:
    """Send so many pings, whether or not the one before has come back.

    Raises:
        SimulatorError: the seed is negative.
    """
    if seed < 0:
        raise SimulatorError(f"seed must be >= 0; got {seed}")
    rng = np.random.default_rng(seed)
    shared = Conditions(profile, rng)
    up, down = DelayLine(profile, "up", rng, shared), DelayLine(profile, "down", rng, shared)
    sent_s = np.arange(count, dtype=np.float64) * every_s
    back_s = [down.release_s(up.release_s(at_s, _PING_BYTES), _PING_BYTES) for at_s in sent_s]
    return Pings(sent_s=sent_s, rtt_s=np.array(back_s) - sent_s)
