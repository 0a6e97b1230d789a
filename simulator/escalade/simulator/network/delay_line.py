"""The one delay model of the live proxy and of virtual time; knows no clock and no socket.

A chunk of bytes passes three stages: it waits for the link and is serialized on it at the
profile's bandwidth, it travels (floor plus jitter), and if a packet of it was lost it
stalls. It never overtakes the chunk before it. Loss is modelled, not injected: a byte
stream cannot drop packets, so a loss is a stall of one retransmission timeout.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

from escalade.simulator.network.profiles import Profile

Direction = Literal["up", "down"]

#: TCP payload of one full Ethernet frame: 1500 less 40 (IP, TCP) less 12 (timestamps).
PACKET_BYTES = 1448

#: Linux: RTO = SRTT + max(TCP_RTO_MIN, 4 mdev), TCP_RTO_MIN = 200 ms (include/net/tcp.h);
#: RFC 6298 would wait 1 s.
RTO_MIN_S = 0.2


class Uniform(Protocol):
    """A seeded generator: `random.Random` and `numpy.random.Generator` both are one."""

    def random(self) -> float:
        """The next number, uniform in [0, 1)."""
        ...


class DelayLine:
    """One direction of one network: when does what came in go out?

    A pure state machine: times are seconds on whatever clock the caller has, and must not
    decrease from call to call. The same seed and the same calls give the same times.
    """

    def __init__(self, profile: Profile, direction: Direction, rng: Uniform) -> None:
        mbps = profile.up_mbps if direction == "up" else profile.down_mbps
        self._s_per_byte = 0.0 if mbps is None else 8 / (mbps * 1e6)
        self._floor_s = profile.floor_ms / 1e3
        self._jitter_s = profile.jitter_ms / 1e3
        self._loss = profile.loss
        self._stall_s = profile.rtt_ms / 1e3 + RTO_MIN_S
        self._rng = rng
        self._link_free_s = -math.inf
        self._last_release_s = -math.inf

    def release_s(self, arrival_s: float, nbytes: int) -> float:
        """The time at which a chunk of `nbytes` that came in at `arrival_s` goes out whole."""
        self._link_free_s = max(arrival_s, self._link_free_s) + nbytes * self._s_per_byte
        release_s = self._link_free_s + self._floor_s
        if self._jitter_s:
            release_s += self._jitter_s * -math.log1p(-self._rng.random())
        if self._loss:
            packets = max(1, math.ceil(nbytes / PACKET_BYTES))
            if self._rng.random() < 1 - (1 - self._loss) ** packets:
                release_s += self._stall_s
        self._last_release_s = max(self._last_release_s, release_s)
        return self._last_release_s
