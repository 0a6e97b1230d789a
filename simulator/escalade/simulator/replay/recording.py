"""What a trace took and moved over loopback, added up once for all networks; knows no network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Hop, links_of
from escalade.simulator.recorded import Floats, RecordedTier, recorded_seconds

#: What gRPC adds to the messages of a call on a warm connection, TCP/IP headers excluded:
#: midpoints of +66-104 B up and +64-98 B down, measured for this project over loopback.
#: A first call adds 385 B and 242 B; a replay takes every connection as warm.
GRPC_BYTES_UP = 85
GRPC_BYTES_DOWN = 81

Counts = NDArray[np.int64]


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


def _is_plain(tier: RecordedTier) -> bool:
    return all(one.link is not None and not links_behind(one.hops) for one in tier.answers)


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
