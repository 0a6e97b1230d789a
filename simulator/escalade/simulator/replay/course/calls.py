"""How long one recorded call takes over given links; knows no tier and no threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from escalade.edge.trace import Link
from escalade.simulator.network import (
    GRPC_BYTES_DOWN,
    GRPC_BYTES_UP,
    Conditions,
    DelayLine,
    Profile,
    answered_s,
    ready_s,
)
from escalade.simulator.replay.setting import hedged_s

_CALLS_APART = 32


class Key(NamedTuple):
    """Of all calls of a query over one link: they meet one network."""

    seed: int
    query: int
    link: int
    #: Whether they find no connection open.
    dials: bool


def call_s(
    crossed: Sequence[Profile],
    key: Key,
    link: Link,
    recorded_s: float,
    member: int = 0,
    nearest: int = 0,
) -> float:
    """A call that took `recorded_s` over loopback; one key meets one network, whatever is sent.

    Each of several members of a tier meets one of its own. Links before the `nearest` are left out.
    """
    at_s = recorded_s
    for behind, profile in enumerate(crossed[nearest:], start=nearest):
        rng = _generator(key, member, behind)
        shared = Conditions.at_any_moment(profile, rng)
        up, down = (DelayLine(profile, way, rng, shared) for way in ("up", "down"))
        from_s = ready_s(up, down, 0.0, tls=True) if key.dials and not behind else 0.0
        up_s = up.release_s(from_s, link.bytes_up + GRPC_BYTES_UP)
        nbytes = link.bytes_down + GRPC_BYTES_DOWN
        if behind:  # many call over it: it is not idle
            at_s = down.release_s(up_s + at_s, nbytes)
        else:
            at_s = answered_s(profile, down, up_s, up_s + at_s, nbytes)
    return at_s


def asked_s(
    crossed: Sequence[Profile],
    key: Key,
    link: Link,
    recorded_s: float,
    after_s: float,
) -> float:
    """The same, of a call that is made again over its first link where it takes too long."""
    took_s = call_s(crossed, key, link, recorded_s)
    if took_s <= after_s or key.dials:
        return took_s
    between_s = call_s(crossed, key, link, recorded_s, nearest=1)
    rngs = _generator(key, 0, 0), _generator(key, 0, 0, again=1)
    nbytes = link.bytes_up + GRPC_BYTES_UP, link.bytes_down + GRPC_BYTES_DOWN
    return hedged_s(crossed[0], rngs, nbytes, between_s, after_s)


def _generator(key: Key, member: int, behind: int, again: int = 0) -> np.random.Generator:
    return np.random.Generator(
        np.random.Philox(
            key=np.array([key.seed, key.query], dtype=np.uint64),
            # No call draws as many numbers as lie between it and the next.
            counter=np.array([again << _CALLS_APART, member, behind, key.link], dtype=np.uint64),
        )
    )


def without_draft(link: Link) -> Link:
    """The same call, had no draft been sent along."""
    up = link.bytes_up - link.draft_bytes
    return msgspec.structs.replace(link, bytes_up=up, draft_bytes=0)
