"""Calls that share connections, in virtual time: what stalls holds up what is behind it.

A byte stream keeps its order. While one call's lost packet is sent again, all others of the same
connection wait, each way: head-of-line blocking. The live proxy has the same, by the same delay
lines. gRPC's own pings are among what may stall (`Probes`). Knows no queue of a server: the caller
says when answers leave.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.delay_lines.probes import PING_BYTES, Probes
from escalade.simulator.network.profiles import Profile, Spread
from escalade.simulator.network.stages import RTO_MIN_S, Conditions, RoundTrips, Uniform

Floats = NDArray[np.float64]


class Connections:
    """Connections over one network, opened before the first call."""

    def __init__(self, profile: Profile, many: int, rng: np.random.Generator) -> None:
        """Lay their lines; cycles and traces are at any moment, which is the same for all.

        Args:
            profile: the network.
            many: connections, at least 1.
            rng: of what chance does.
        """
        begins_s = Conditions.at_any_moment(profile, rng).begins_s
        self._up, self._down = list[DelayLine](), list[DelayLine]()
        self._rtt_s = profile.rtt_ms / 1e3
        # When the server pings, and over which.
        self._pings: list[tuple[float, int]] = []
        for _ in range(many):
            shared = Conditions(profile, rng, begins_s=begins_s)
            if profile.spread is not None:
                shared.round_trips = _Remembered(profile.spread, profile.rtt_ms, rng)
            self._up.append(DelayLine(profile, "up", rng, shared))
            self._down.append(DelayLine(profile, "down", rng, shared))

    def up_s(self, sent_s: Floats, over: Sequence[int], nbytes: Sequence[int]) -> Floats:
        """When each of N requests has come: `(N,)` seconds; asked once, and before `down_s`.

        Args:
            sent_s: `(N,)` when each is sent.
            over: over which connection, from 0.
            nbytes: what it is long.
        """
        came_s = _crossed(self._up, sent_s, over, nbytes)
        of_each = [list[float]() for _ in self._up]
        for at_s, which in zip(came_s.tolist(), over, strict=True):
            of_each[which].append(at_s)
        for which, at in enumerate(of_each):
            pings = Probes(self._rtt_s).pings_s(sorted(at))
            self._pings += [(at_s, which) for at_s in pings]
        return came_s

    def down_s(self, sent_s: Floats, over: Sequence[int], nbytes: Sequence[int]) -> Floats:
        """When each of N answers has come, as `up_s`; asked once."""
        pings_s = np.array([at_s for at_s, _ in self._pings])
        # Of two at one moment the ping goes first: it waits for no computation.
        found = _crossed(
            self._down,
            np.concatenate([pings_s, sent_s]),
            [*(which for _, which in self._pings), *over],
            [*([PING_BYTES] * len(pings_s)), *nbytes],
        )
        return found[len(pings_s) :]


def held_share(profile: Profile, per_s: float) -> float:
    """Share of a connection's calls that another call's stall holds up, each of few bytes.

    Who draws each call's stalls by itself leaves that out (`python -m benchmarks.fleet.holds`).

    Args:
        profile: the network.
        per_s: calls a second, at moments of chance.
    """
    lost, bursts = profile.loss, profile.bursts
    if bursts is not None:
        lost = (1 - bursts.bad) * lost + bursts.bad * bursts.loss_bad
    stall_s = profile.rtt_ms / 1e3 + RTO_MIN_S
    # One of those that came in the time of a stall has one, up or down.
    return -math.expm1(-2 * lost * per_s * stall_s)


def _crossed(
    lines: Sequence[DelayLine], sent_s: Floats, over: Sequence[int], nbytes: Sequence[int]
) -> Floats:
    found = np.empty(len(sent_s))
    for k in np.argsort(sent_s, kind="stable").tolist():
        found[k] = lines[over[k]].release_s(float(sent_s[k]), nbytes[k])
    return found


class _Remembered(RoundTrips):
    """Round trips that answers ask for when all requests have: what each then was is kept."""

    def __init__(self, spread: Spread, median_ms: float, rng: Uniform) -> None:
        super().__init__(spread, median_ms, rng)
        self._at_s, self._was_ms = list[float](), list[float]()
        self._asked_s = -math.inf

    def at_ms(self, at_s: float) -> float:
        """The time, in ms, of the round trip that is under way at a moment."""
        if at_s < self._asked_s:
            return self._was_ms[max(0, bisect_right(self._at_s, at_s) - 1)]
        self._asked_s = at_s
        rtt_ms = super().at_ms(at_s)
        if not self._was_ms or rtt_ms != self._was_ms[-1]:
            self._at_s.append(at_s)
            self._was_ms.append(rtt_ms)
        return rtt_ms
