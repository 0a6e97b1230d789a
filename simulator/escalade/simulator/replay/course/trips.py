"""How long each tier takes, on a network, for each query; knows no threshold and no cost.

For each query the trace holds what the device and the servers took; the networks between them
come from the same `DelayLine` that drives the live proxy. Queries do not contend: each has idle
lines of its own, as in the single-instance setup of Revisiting Cascaded Ensembles (section 4.2,
figure 5). Record over loopback: a network between the tiers at recording time would count twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from escalade.edge.trace import TierAnswer, links_of
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import (
    Network,
    Profile,
    calls_s,
    draws_of,
    uniforms,
)
from escalade.simulator.recorded import Bools, Floats, RecordedTier, recorded_seconds
from escalade.simulator.replay.course.calls import Key, asked_s, call_s, without_draft
from escalade.simulator.replay.course.crossed import Crossed
from escalade.simulator.replay.course.recording import Counts, Recording
from escalade.simulator.replay.setting import AS_RECORDED, Setting

_MAX_SEED = 2**64 - 1


class Trips(NamedTuple):
    """What T tiers take for N queries on a network.

    Attributes:
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`.
        alone_s: `(N,)` of the last tier for queries that it gets first, without a draft.
        again: `(T, N)` which calls to each tier are made a second time,
        alone_again: and `(N,)` to the last, asked alone.
    """

    seconds: list[Floats]
    alone_s: Floats
    again: Bools
    alone_again: Bools


def trips_of(
    tiers: Sequence[RecordedTier],
    recording: Recording,
    network: Network,
    seed: int,
    setting: Setting = AS_RECORDED,
) -> Trips:
    """What each tier takes when a query comes to it, and the last when it is asked alone.

    A tier on its caller's machine takes what its members do, and what it took beside them (threads
    that begin, an encoded prompt) whoever of them is asked. Where a link is crossed it is
    `network up + server_s + (round_trip_s - server_s) + network down`, the bracket being the
    recorded loopback overhead; and so is each link behind a gateway that the query crossed
    (`links_behind`), with the bytes of the link to the gateway, which is all that a trace has.
    Members elsewhere cross a link each at the same time, of a profile of its own or else that of
    their tier, and the slowest counts. What the caller took beside the call, to put a request
    together, is added; and to the first tier, what the query took beside all of them.

    Args:
        tiers: all of a trace.
        recording: of it.
        network: a profile for each link.
        seed: in [0, 2**64). The generator of a call is keyed by the seed, the query's place in
            the trace and the link, so that its network depends on no other query, profile or
            threshold.
        setting: another device than the one that recorded, which calls dial, and when one is made
            again; not one that dials, for the second would wait for the same connection.

    Raises:
        ProfileError: a link has no profile.
        SimulatorError: the seed is out of range.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise SimulatorError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    # At its deadline a call has ended, and none is made again.
    hedged = setting.hedge_after_s < setting.deadline_s
    after_s = setting.hedge_after_s if hedged else math.inf
    tables, link = [], 0
    moved = recording.bytes_up, recording.bytes_down, recording.draft_bytes
    again = np.zeros(recording.bytes_up.shape, dtype=np.bool_)
    alone_again = again[-1]
    for place, tier in enumerate(tiers):
        scale = setting.scale if tier.info.place == "device" else 1.0
        table, alone = recording.seconds[place] * scale, recording.alone_s * scale
        if recording.linked[place]:
            profile = network.to(tier.info.name) if recording.plain[place] else None
            draws = None if profile is None else draws_of(profile)
            keys = _Keys.drawn(seed, link, table.shape[1], setting.dialled)
            if profile is None or draws is None:
                alone = _one_by_one(table, tier, network, keys, after_s)
            else:
                calls = _Calls(tier, *(of[place] for of in moved))
                alone = _at_once(table, calls, profile, draws, keys, after_s)
            if after_s < math.inf:  # of members elsewhere no call is made again
                once = np.array([answer.link is not None for answer in tier.answers]) & ~keys.dials
                again[place], alone_again = once & (table[-1] > after_s), once & (alone > after_s)
            link += 1
        tables.append(table)
    if not recording.linked[-1]:
        alone_again = np.zeros_like(alone_again)
    return Trips(seconds=tables, alone_s=alone, again=again, alone_again=alone_again)


class _Keys(NamedTuple):
    """Of N queries over one link."""

    seed: int
    link: int
    #: `(N,)`
    dials: Bools

    @staticmethod
    def drawn(seed: int, link: int, queries: int, dialled: float) -> _Keys:
        """With a share of calls that dial."""
        drawn = np.random.default_rng([seed, link]).random(queries)
        return _Keys(seed, link, np.asarray(drawn < dialled))

    def of(self, query: int) -> Key:
        """Of one query's calls."""
        return Key(self.seed, query, self.link, dials=bool(self.dials[query]))


class _Calls(NamedTuple):
    """To one tier: what each sends and receives, and how much of that is a draft."""

    tier: RecordedTier
    up: Counts
    down: Counts
    drafts: Counts


def _at_once(
    table: Floats,
    calls: _Calls,
    profile: Profile,
    draws: int,
    keys: _Keys,
    after_s: float,
) -> Floats:
    """Put all calls over one link into a tier's table; what they take without a draft: `(N,)`."""
    recorded_s: Floats = table[-1].copy()
    queries = np.arange(len(recorded_s), dtype=np.uint64)
    drawn = uniforms(keys.seed, queries, (0, 0, keys.link), draws)
    _, table[:] = calls_s(profile, drawn, calls.up, recorded_s, calls.down)
    alone: Floats = table[-1].copy()
    if calls.drafts.any():
        _, alone = calls_s(profile, drawn, calls.up - calls.drafts, recorded_s, calls.down)
    # Where nothing varies a second call is never first.
    slow = np.logical_and(np.maximum(table[-1], alone) > after_s, bool(draws))
    for k in np.flatnonzero(slow | keys.dials).tolist():
        own = calls.tier.answers[k].link
        assert own is not None  # noqa: S101 - nor would they be at once
        asked = recorded_s[k], after_s
        table[:, k] = asked_s([profile], keys.of(k), own, *asked)
        alone[k] = asked_s([profile], keys.of(k), without_draft(own), *asked)
    return alone


def _one_by_one(
    table: Floats, tier: RecordedTier, network: Network, keys: _Keys, after_s: float
) -> Floats:
    """The same of any calls, one after the other."""
    links = Crossed.on(network, tier.info)
    alone: Floats = table[-1].copy()
    for k, answer in enumerate(tier.answers):
        key = keys.of(k)
        if answer.link is not None:
            crossed, asked = links.profiles(answer.hops), (alone[k], after_s)
            table[:, k] = asked_s(crossed, key, answer.link, *asked)
            if answer.link.draft_bytes:
                alone[k] = asked_s(crossed, key, without_draft(answer.link), *asked)
            else:
                alone[k] = table[-1, k]
        elif links_of(answer):
            beside_s = alone[k] - recorded_seconds(answer, tier.info)
            with_draft, without = _calls_s(answer, links, key)
            table[:, k] = beside_s + with_draft
            alone[k] = beside_s + without
    return alone


def _calls_s(answer: TierAnswer, links: Crossed, key: Key) -> tuple[float, float]:
    """The slowest of the calls to members elsewhere, with the draft and without."""
    slowest_s, plain_s = 0.0, 0.0
    for one in answer.members:
        if one.call is msgspec.UNSET:  # it was not sent the query
            slowest_s, plain_s = max(slowest_s, one.seconds), max(plain_s, one.seconds)
            continue
        crossed, link = links.profiles(one.call.hops, one.member), one.call.link
        slowest_s = max(slowest_s, call_s(crossed, key, link, one.seconds, one.member))
        plain_s = max(plain_s, call_s(crossed, key, without_draft(link), one.seconds, one.member))
    return slowest_s, plain_s
