"""What a trace took and moved over loopback, added up once for all networks; knows no network."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Link, links_of
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.recorded import (
    Floats,
    RecordedTier,
    live_seconds,
    recorded_seconds,
    undrafted_seconds,
)
from escalade.simulator.replay.course.crossed import links_behind

Counts = NDArray[np.int64]


class Recording(NamedTuple):
    """What a trace of T tiers took and moved over loopback, whatever the network.

    Attributes:
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`, with what it took beside its
            members, and the caller beside a call; members read the drafts that they read live.
        alone_s: `(N,)` of the last, asked first.
        bytes_up: `(T, N)` what the calls to each tier send, gRPC framing and draft included.
        bytes_down: `(T, N)` what they receive.
        draft_bytes: `(T, N)` how many of those that are sent are the draft.
        linked: T, whether a link leads to a tier.
        plain: T, whether each of its answers came over one link, and over none behind it.
    """

    seconds: list[Floats]
    alone_s: Floats
    bytes_up: Counts
    bytes_down: Counts
    draft_bytes: Counts
    linked: list[bool]
    plain: list[bool]


def recording_of(tiers: Sequence[RecordedTier]) -> Recording:
    """Add up a trace, once for all networks."""
    links = [[links_of(answer) for answer in tier.answers] for tier in tiers]
    calls = np.array([[len(of) for of in tier] for tier in links], dtype=np.int64)
    return Recording(
        seconds=[tier.until_decided(live_seconds) + _beside(tier) for tier in tiers],
        alone_s=tiers[-1].until_decided(undrafted_seconds)[-1] + _beside(tiers[-1]),
        bytes_up=_summed(links, "bytes_up") + GRPC_BYTES_UP * calls,
        bytes_down=_summed(links, "bytes_down") + GRPC_BYTES_DOWN * calls,
        draft_bytes=_summed(links, "draft_bytes"),
        linked=[any(of) for of in calls.tolist()],
        plain=[_is_plain(tier) for tier in tiers],
    )


def _summed(links: Sequence[Sequence[Sequence[Link]]], field: str) -> Counts:
    """A number of links, over those that each query crossed to each tier: `(T, N)`."""
    value = operator.attrgetter(field)
    return np.array([[sum(map(value, of)) for of in tier] for tier in links], dtype=np.int64)


def _is_plain(tier: RecordedTier) -> bool:
    return all(one.link is not None and not links_behind(one.hops) for one in tier.answers)


def _beside(tier: RecordedTier) -> Floats:
    """What was taken that no member and no call did: `(N,)`."""
    took = [answer.seconds - recorded_seconds(answer, tier.info) for answer in tier.answers]
    return np.maximum(0.0, took) + tier.beside_s
