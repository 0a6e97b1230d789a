"""How long each tier takes, on a network, for each query; knows no threshold and no cost.

For each query the trace holds what the device and the servers took; the networks between them
come from the same `DelayLine` that drives the live proxy. Queries do not contend: each has idle
lines of its own, as in the single-instance setup of Revisiting Cascaded Ensembles (section 4.2,
figure 5). Record over loopback: a network between the tiers at recording time would count twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Hop, Link, TierAnswer, links_of
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import (
    Conditions,
    DelayLine,
    Network,
    Profile,
    ready_s,
    steady_release_s,
)
from escalade.simulator.recorded import Floats, RecordedTier, recorded_seconds

#: What gRPC adds to the messages of a call on a warm connection, TCP/IP headers excluded:
#: midpoints of +66-104 B up and +64-98 B down, measured for this project over loopback.
#: A first call adds 385 B and 242 B, which are not counted.
GRPC_BYTES_UP = 85
GRPC_BYTES_DOWN = 81

Counts = NDArray[np.int64]

_MAX_SEED = 2**64 - 1


class Recording(NamedTuple):
    """What a trace of T tiers took and moved over loopback, whatever the network.

    Attributes:
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`, with what it took beside its
            members, and the caller beside a call.
        bytes_up: `(T, N)` what the calls to each tier send, gRPC framing and draft included.
        bytes_down: `(T, N)` what they receive.
        draft_bytes: `(T, N)` how many of those that are sent are the draft.
        linked: T, whether a link leads to a tier.
        plain: T, whether each of its answers came over one link, and over none behind it.
    """

    seconds: list[Floats]
    bytes_up: Counts
    bytes_down: Counts
    draft_bytes: Counts
    linked: list[bool]
    plain: list[bool]


def recording_of(tiers: Sequence[RecordedTier]) -> Recording:
    """Add up a trace, once for all networks."""
    up, down = bytes_of_tiers(tiers)
    return Recording(
        seconds=[tier.at_levels(recorded_seconds) + _beside(tier) for tier in tiers],
        bytes_up=up,
        bytes_down=down,
        draft_bytes=np.array([draft_bytes(tier) for tier in tiers], dtype=np.int64),
        linked=[is_linked(tier) for tier in tiers],
        plain=[_is_plain(tier) for tier in tiers],
    )


def seconds_of_tiers(
    tiers: Sequence[RecordedTier],
    recording: Recording,
    network: Network,
    seed: int,
    device_scale: float = 1.0,
    dialled: float = 0.0,
) -> tuple[list[Floats], Floats]:
    """What each tier takes when a query comes to it, and the last when it is asked alone.

    A tier on its caller's machine takes what its members do, and what it took beside them (threads
    that begin, an encoded prompt) whoever of them is asked. Where a link is crossed it is
    `network up + server_s + (round_trip_s - server_s) + network down`, the bracket being the
    recorded loopback overhead; and so is each link behind a gateway that the query crossed
    (`links_behind`), with the bytes of the link to the gateway, which is all that a trace has.
    Members elsewhere cross a link each at the same time, of the one profile of their tier, and the
    slowest counts. What the caller took beside the call, to put a request together, is added; and
    to the first tier, what the query took beside all of them.

    Args:
        tiers: all of a trace.
        recording: of it.
        network: a profile for each link.
        seed: in [0, 2**64). The generator of a call is keyed by the seed, the query's place in
            the trace and the link, so that its network depends on no other query, profile or
            threshold.
        device_scale: what the seconds of tiers on the device are multiplied by, > 0: those of
            another device than the one that recorded.
        dialled: share of the calls, in [0, 1], that find no connection open and dial, over TLS
            (`ready_s`). Behind a gateway connections are always open: it has many callers.

    Returns:
        Of each tier `(V, N)`, see `RecordedTier.at_levels`; and `(N,)` of the last tier for
        queries that it gets first, without a draft.

    Raises:
        ProfileError: a link has no profile.
        SimulatorError: the seed or the share is out of range.
    """
    if not 0.0 <= dialled <= 1.0:
        raise SimulatorError(f"dialled must be in [0, 1]; got {dialled}")
    if not 0 <= seed <= _MAX_SEED:
        raise SimulatorError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    tables, link = [], 0
    for place, tier in enumerate(tiers):
        table = recording.seconds[place].copy()
        if tier.info.place == "device":
            table = table * device_scale
        alone = table[-1].copy()
        if not recording.linked[place]:
            tables.append(table)
            continue
        profile = network.to(tier.info.name)
        dials = np.random.default_rng([seed, link]).random(len(tier.answers)) < dialled
        if recording.plain[place] and profile.is_steady:
            up, down = recording.bytes_up[place], recording.bytes_down[place]
            undrafted_up = up - recording.draft_bytes[place]
            from_s = np.where(dials, _ready_s(profile, np.random.default_rng(0)), 0.0)
            table[:] = _steady_s(profile, from_s, alone, up, down)
            alone = _steady_s(profile, from_s, alone, undrafted_up, down)
        else:
            profiles = _Profiles(tier.info.name, network)
            for k, answer in enumerate(tier.answers):
                key = _Key(seed, k, link, dials=bool(dials[k]))
                if answer.link is not None:
                    crossed = profiles.of(answer.hops)
                    table[:, k] = _call_s(crossed, key, answer.link, alone[k])
                    if answer.link.draft_bytes:
                        undrafted = _undrafted(answer.link)
                        alone[k] = _call_s(crossed, key, undrafted, alone[k])
                    else:
                        alone[k] = table[-1, k]
                elif links_of(answer):
                    beside_s = alone[k] - recorded_seconds(answer, tier.info)
                    with_draft, without = _calls_s(answer, profiles, key)
                    table[:, k] = beside_s + with_draft
                    alone[k] = beside_s + without
        link += 1
        tables.append(table)
    return tables, alone


def _is_plain(tier: RecordedTier) -> bool:
    return all(one.link is not None and not links_behind(one.hops) for one in tier.answers)


class _Key(NamedTuple):
    """Of all calls of a query over one link: they meet one network."""

    seed: int
    query: int
    link: int
    #: Whether they find no connection open.
    dials: bool


def _ready_s(profile: Profile, rng: np.random.Generator, shared: Conditions | None = None) -> float:
    """What dialling at 0 takes."""
    up, down = DelayLine(profile, "up", rng, shared), DelayLine(profile, "down", rng, shared)
    return ready_s(up, down, 0.0, tls=True)


def _steady_s(
    profile: Profile, from_s: Floats, recorded_s: Floats, up: Counts, down: Counts
) -> Floats:
    """What `_call_s` gives where nothing varies, of N calls at once."""
    there_s = steady_release_s(profile, "up", from_s, up)
    return steady_release_s(profile, "down", there_s + recorded_s, down)


def _calls_s(answer: TierAnswer, profiles: _Profiles, key: _Key) -> tuple[float, float]:
    """The slowest of the calls to members elsewhere, with the draft and without."""
    slowest_s, plain_s = 0.0, 0.0
    for one in answer.members:
        if one.call is msgspec.UNSET:  # it was not sent the query
            slowest_s, plain_s = max(slowest_s, one.seconds), max(plain_s, one.seconds)
            continue
        crossed, link = profiles.of(one.call.hops), one.call.link
        slowest_s = max(slowest_s, _call_s(crossed, key, link, one.seconds, one.member))
        plain_s = max(plain_s, _call_s(crossed, key, _undrafted(link), one.seconds, one.member))
    return slowest_s, plain_s


def _beside(tier: RecordedTier) -> Floats:
    """What was taken that no member and no call did: `(N,)`."""
    took = [answer.seconds - recorded_seconds(answer, tier.info) for answer in tier.answers]
    return np.maximum(0.0, took) + tier.beside_s


def is_linked(tier: RecordedTier) -> bool:
    """Whether a link leads to a tier."""
    return any(links_of(answer) for answer in tier.answers)


def bytes_of_tiers(tiers: Sequence[RecordedTier]) -> tuple[Counts, Counts]:
    """Bytes that the calls to each tier send and receive, gRPC's framing included.

    Returns:
        Twice `(T, N)`; 0 where no link is crossed.
    """
    links = [[links_of(answer) for answer in tier.answers] for tier in tiers]
    up = [[sum(one.bytes_up + GRPC_BYTES_UP for one in of) for of in tier] for tier in links]
    down = [[sum(one.bytes_down + GRPC_BYTES_DOWN for one in of) for of in tier] for tier in links]
    return np.array(up, dtype=np.int64), np.array(down, dtype=np.int64)


def draft_bytes(tier: RecordedTier) -> Counts:
    """How many of the bytes that the calls of each query send are a draft: `(N,)`."""
    links = (links_of(answer) for answer in tier.answers)
    return np.array([sum(one.draft_bytes for one in of) for of in links], dtype=np.int64)


def links_behind(hops: Sequence[Hop]) -> list[Hop]:
    """The tiers that a query came to over a further link: behind a gateway the place changes.

    One gateway behind another is not told from it.
    """
    return [hop for before, hop in itertools.pairwise(hops) if hop.place != before.place]


class _Profiles(NamedTuple):
    """Of the links to a tier and behind it."""

    tier: str
    network: Network

    def of(self, hops: Sequence[Hop]) -> list[Profile]:
        """Of those that a call crossed, the caller's own first."""
        behind = (self.network.to(hop.tier) for hop in links_behind(hops))
        return [self.network.to(self.tier), *behind]


def _call_s(
    crossed: Sequence[Profile],
    key: _Key,
    link: Link,
    recorded_s: float,
    member: int = 0,
) -> float:
    """A call that took `recorded_s` over loopback; one key meets one network, whatever is sent.

    Each of several members of a tier meets one of its own.
    """
    at_s = recorded_s
    for behind, profile in enumerate(crossed):
        rng = np.random.Generator(
            np.random.Philox(
                key=np.array([key.seed, key.query], dtype=np.uint64),
                counter=np.array([0, member, behind, key.link], dtype=np.uint64),
            )
        )
        shared = Conditions.at_any_moment(profile, rng)
        from_s = _ready_s(profile, rng, shared) if key.dials and not behind else 0.0
        up = DelayLine(profile, "up", rng, shared)
        up_s = up.release_s(from_s, link.bytes_up + GRPC_BYTES_UP)
        down = DelayLine(profile, "down", rng, shared)
        at_s = down.release_s(up_s + at_s, link.bytes_down + GRPC_BYTES_DOWN)
    return at_s


def _undrafted(link: Link) -> Link:
    up = link.bytes_up - link.draft_bytes
    return msgspec.structs.replace(link, bytes_up=up, draft_bytes=0)
