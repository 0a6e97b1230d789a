"""What calls meet on a network that nobody else is on; knows no trace and no arrival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from escalade.simulator.fleet.demand.queries import Queries
from escalade.simulator.fleet.engine import Floats
from escalade.simulator.network import (
    Conditions,
    DelayLine,
    Profile,
    answered_s,
    calls_s,
    draws_of,
    ready_s,
)

#: Delays that are sampled of a network each way, shared out among the queries.
_SAMPLES = 1 << 14


def sampled_delays(
    queries: Queries, profile: Profile, samples: int, seed: int | Sequence[int]
) -> tuple[Floats, Floats]:
    """Delays of calls on idle lines of their own, up and down: each `(R, samples)`.

    Both ways of a call are of one place: they meet the network at one moment, which may be any.

    Args:
        queries: whose bytes cross the network, with what the cloud takes between.
        profile: of the network.
        samples: of each query.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    up, down = (np.repeat(one, samples) for one in (queries.bytes_up, queries.bytes_down))
    cloud_s = np.repeat(queries.cloud_s, samples)
    if (draws := draws_of(profile)) is None:
        calls = zip(up.tolist(), cloud_s.tolist(), down.tolist(), strict=True)
        up_s, back_s = np.array([_call_s(profile, rng, *call) for call in calls]).T
    else:
        up_s, back_s = calls_s(profile, rng.random((len(up), draws)).T, up, cloud_s, down)
    down_s = (back_s - (up_s + cloud_s)).reshape(-1, samples)
    return up_s.reshape(-1, samples), down_s + queries.beside_s[:, None]


def sampled_dialling(
    queries: Queries, profile: Profile, samples: int, seed: Sequence[int], *, tls: bool
) -> tuple[Floats, Floats]:
    """What calls that dial take until they are sent, and from then on up: each `(R, samples)`.

    Arguments are those of `sampled_delays`.
    """
    rng = np.random.default_rng(seed)
    found = np.array(
        [
            [_first_s(profile, rng, up, tls=tls) for _ in range(samples)]
            for up in queries.bytes_up.tolist()
        ]
    )
    return found[..., 0], found[..., 1]


def _first_s(
    profile: Profile, rng: np.random.Generator, nbytes: int, *, tls: bool
) -> tuple[float, float]:
    shared = Conditions.at_any_moment(profile, rng)
    up, down = (DelayLine(profile, way, rng, shared) for way in ("up", "down"))
    open_s = ready_s(up, down, 0.0, tls=tls)
    return open_s, up.release_s(open_s, nbytes) - open_s


def _call_s(
    profile: Profile, rng: np.random.Generator, up: int, cloud_s: float, down: int
) -> tuple[float, float]:
    """As `calls_s`, of any profile."""
    shared = Conditions.at_any_moment(profile, rng)
    up_s = DelayLine(profile, "up", rng, shared).release_s(0.0, up)
    line = DelayLine(profile, "down", rng, shared)
    return up_s, answered_s(profile, line, up_s, up_s + cloud_s, down)


def samples_for(records: int) -> int:
    """How many delays to sample of each query, of so many."""
    return max(1, _SAMPLES // records)
