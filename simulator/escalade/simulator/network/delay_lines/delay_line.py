"""The one delay model of the live proxy and of virtual time; knows no clock and no socket.

A chunk of bytes passes the stages that its profile asks for: outages (it waits until they are
over), bandwidth (it waits for the link and is serialized on it), delay (it travels), loss (if a
packet of it was lost it stalls). It never overtakes the chunk before it.
"""

from __future__ import annotations

import math
from typing import Literal

from escalade.simulator.network.profiles import Cycle, Profile
from escalade.simulator.network.stages import (
    RTO_MIN_S,
    Away,
    BurstLoss,
    Conditions,
    Floor,
    Jitter,
    Link,
    Loss,
    Spikes,
    Spreading,
    Stage,
    Traced,
    Uniform,
    VaryingLink,
)

Direction = Literal["up", "down"]


class DelayLine:
    """One direction of one network: when does what came in go out?

    A pure state machine: times are seconds on whatever clock the caller has, and must not
    decrease from call to call. The same seed and the same calls give the same times.
    """

    def __init__(
        self,
        profile: Profile,
        direction: Direction,
        rng: Uniform,
        conditions: Conditions | None = None,
    ) -> None:
        """Take the stages that the profile asks for.

        Args:
            profile: the network.
            direction: up from the device, or down to it.
            rng: of what this direction has alone.
            conditions: what it shares with the other; None shares nothing and begins at 0.
        """
        shared = Conditions(profile, rng) if conditions is None else conditions
        self._stages: list[Stage] = []
        self._away: Away | None = None
        if profile.outages:
            cycles = [one for one in profile.outages if isinstance(one, Cycle)]
            self._away = Away(cycles, shared.absences, shared.begins_s)
            self._stages.append(self._away)
        self._stages += _bandwidth(profile, direction, shared)
        self._stages += _delay(profile, rng, shared)
        if profile.bursts is not None or profile.loss:
            self._stages.append(_loss(profile, rng))
        self._last_release_s = -math.inf

    def release_s(self, arrival_s: float, nbytes: int) -> float:
        """The time at which a chunk of `nbytes` that came in at `arrival_s` goes out whole."""
        at_s = arrival_s
        for stage in self._stages:
            at_s = stage.leaves_s(at_s, nbytes)
        self._last_release_s = max(self._last_release_s, at_s)
        return self._last_release_s

    def enters_s(self, arrival_s: float) -> float:
        """The time at which outages let in what came at `arrival_s`; takes nothing in."""
        return arrival_s if self._away is None else self._away.leaves_s(arrival_s, 0)

    def follow(self, before: DelayLine) -> None:
        """Let nothing overtake what another line has taken in, whose place this one takes."""
        self._last_release_s = before._last_release_s


def _bandwidth(profile: Profile, direction: Direction, shared: Conditions) -> list[Stage]:
    up = direction == "up"
    mbps = profile.up_mbps if up else profile.down_mbps
    if mbps is not None:
        return [Link(mbps)]
    trace = profile.up_trace if up else profile.down_trace
    return [] if trace is None else [VaryingLink(trace, shared.begins_s)]


def _delay(profile: Profile, rng: Uniform, shared: Conditions) -> list[Stage]:
    stages: list[Stage]
    if shared.round_trips is not None:
        stages = [Spreading(shared.round_trips)]
    elif profile.rtt_trace is not None:
        stages = [Traced(profile.rtt_trace, shared.begins_s)]
    else:
        stages = [Floor(profile.floor_ms / 1e3)]
    if profile.jitter_ms:
        stages.append(Jitter(profile.jitter_ms / 1e3, rng))
    if profile.spikes:
        stages.append(Spikes(profile.spikes, shared.begins_s))
    return stages


def _loss(profile: Profile, rng: Uniform) -> Stage:
    stall_s = profile.rtt_ms / 1e3 + RTO_MIN_S
    if profile.bursts is not None:
        return BurstLoss(profile.loss, profile.bursts, stall_s, rng)
    return Loss(profile.loss, stall_s, rng)
