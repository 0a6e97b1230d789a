"""How long each tier takes, on a network, for each query; knows no threshold and no cost.

For each query the trace holds what the device and the servers took; the networks between them
come from the same `DelayLine` that drives the live proxy. Queries do not contend: each has idle
lines of its own, as in the single-instance setup of Revisiting Cascaded Ensembles (section 4.2,
figure 5). Record over loopback: a network between the tiers at recording time would count twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Hop, Link, TierAnswer
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Conditions, DelayLine, Network, Profile
from escalade.simulator.recorded import Floats, RecordedTier, recorded_seconds

#: What gRPC adds to the messages of a call on a warm connection, TCP/IP headers excluded:
#: midpoints of +66-104 B up and +64-98 B down, measured for this project over loopback.
#: A first call adds 385 B and 242 B; a replay takes every connection as warm.
GRPC_BYTES_UP = 85
GRPC_BYTES_DOWN = 81

Counts = NDArray[np.int64]

_MAX_SEED = 2**64 - 1


def seconds_of_tiers(
    tiers: Sequence[RecordedTier], network: Network, seed: int, device_scale: float = 1.0
) -> tuple[list[Floats], Floats]:
    """What each tier takes when a query comes to it, and the last when it is asked alone.

    A tier on its caller's machine takes what its members do, and what it took beside them (threads
    that begin, an encoded prompt) whoever of them is asked. Where a link is crossed it is
    `network up + server_s + (round_trip_s - server_s) + network down`, the bracket being the
    recorded loopback overhead; and so is each link behind a gateway that the query crossed
    (`links_behind`), with the bytes of the link to the gateway, which is all that a trace has.

    Args:
        tiers: all of a trace.
        network: a profile for each link.
        seed: in [0, 2**64). The generator of a call is keyed by the seed, the query's place in
            the trace and the link, so that its network depends on no other query, profile or
            threshold.
        device_scale: what the seconds of tiers on the device are multiplied by, > 0: those of
            another device than the one that recorded.

    Returns:
        Of each tier `(V, N)`, see `RecordedTier.at_levels`; and `(N,)` of the last tier for
        queries that it gets first, without a draft.

    Raises:
        ProfileError: a link has no profile.
        SimulatorError: the seed is out of range.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise SimulatorError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    tables, link = [], 0
    for tier in tiers:
        table = tier.at_levels(recorded_seconds) + _beside_members(tier)
        if tier.info.place == "device":
            table = table * device_scale
        alone = table[-1].copy()
        if is_linked(tier):
            for k, answer in enumerate(tier.answers):
                if answer.link is not None:
                    crossed = _profiles(answer, tier.info.name, network)
                    plain = _undrafted(answer.link)
                    table[:, k] = _call_s(crossed, (seed, k, link), answer.link, alone[k])
                    alone[k] = _call_s(crossed, (seed, k, link), plain, alone[k])
            link += 1
        tables.append(table)
    return tables, alone


def _beside_members(tier: RecordedTier) -> Floats:
    """What a tier on its caller's machine took that none of its members did: `(N,)`."""
    return np.array(
        [
            0.0
            if answer.link is not None
            else max(0.0, answer.seconds - recorded_seconds(answer, tier.info))
            for answer in tier.answers
        ]
    )


def is_linked(tier: RecordedTier) -> bool:
    """Whether a link leads to a tier."""
    return any(answer.link is not None for answer in tier.answers)


def bytes_of_tiers(tiers: Sequence[RecordedTier]) -> tuple[Counts, Counts]:
    """Bytes that a call to each tier sends and receives, gRPC's framing included.

    Returns:
        Twice `(T, N)`; 0 where no link is crossed.
    """
    links = [[answer.link for answer in tier.answers] for tier in tiers]
    up = [[0 if one is None else one.bytes_up + GRPC_BYTES_UP for one in of] for of in links]
    down = [[0 if one is None else one.bytes_down + GRPC_BYTES_DOWN for one in of] for of in links]
    return np.array(up, dtype=np.int64), np.array(down, dtype=np.int64)


def draft_bytes(tier: RecordedTier) -> Counts:
    """How many of the bytes that each call sends are a draft: `(N,)`."""
    links = (answer.link for answer in tier.answers)
    return np.array([0 if one is None else one.draft_bytes for one in links], dtype=np.int64)


def links_behind(answer: TierAnswer) -> list[Hop]:
    """The tiers that a query came to over a further link: behind a gateway the place changes.

    One gateway behind another is not told from it.
    """
    return [hop for before, hop in itertools.pairwise(answer.hops) if hop.place != before.place]


def _profiles(answer: TierAnswer, tier: str, network: Network) -> list[Profile]:
    """Of the links that a call crossed, the caller's own first."""
    return [network.to(tier), *(network.to(hop.tier) for hop in links_behind(answer))]


def _call_s(
    crossed: Sequence[Profile], key: tuple[int, int, int], link: Link, recorded_s: float
) -> float:
    """A call that took `recorded_s` over loopback; one key meets one network, whatever is sent."""
    seed, query, number = key
    at_s = recorded_s
    for behind, profile in enumerate(crossed):
        rng = np.random.Generator(
            np.random.Philox(
                key=np.array([seed, query], dtype=np.uint64),
                counter=np.array([0, 0, behind, number], dtype=np.uint64),
            )
        )
        shared = Conditions.at_any_moment(profile, rng)
        up = DelayLine(profile, "up", rng, shared)
        up_s = up.release_s(0.0, link.bytes_up + GRPC_BYTES_UP)
        down = DelayLine(profile, "down", rng, shared)
        at_s = down.release_s(up_s + at_s, link.bytes_down + GRPC_BYTES_DOWN)
    return at_s


def _undrafted(link: Link) -> Link:
    up = link.bytes_up - link.draft_bytes
    return msgspec.structs.replace(link, bytes_up=up, draft_bytes=0)
