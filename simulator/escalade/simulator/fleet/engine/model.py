"""What a fleet is made of, as arrays that both engines read; knows no event and no file.

Times are seconds from the start of the run. Devices are numbered through all groups, and so are
recorded queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.draws import BACKOFF, sample_of, uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Model(NamedTuple):
    """A fleet of G groups of devices, R recorded queries, and a cloud.

    Attributes:
        seed: of everything that is drawn.
        first_device: `(G + 1,)` a group's devices are those from its own up to the next's.
        first_record: `(G + 1,)` so are its recorded queries,
        first_piece: `(G + 1,)` the pieces of its rate of arrivals,
        first_time: `(G + 1,)` its recorded arrivals, of which it may have none,
        first_outage: `(G + 1,)` and its outages, rising.
        priority: `(G,)` whose queries go first where some wait: those of 0.
        piece_from_s: where a piece begins; the last has no end.
        piece_rate: queries a second of one device.
        piece_sum: how many queries of a device are expected before it.
        arrival_s: recorded arrivals of one device, rising, the first at least 0.
        period_s: `(G,)` after which they come again; longer than the last.
        device_s: `(R,)` what a device takes for a query.
        defers: `(R,)` whether it then goes up.
        cloud_s: `(R,)` what the cloud takes for it alone on a replica.
        up_s: `(R, S)` delays that a call meets on its way up, all alike likely.
        down_s: `(R, S)` and back, of the same call.
        dials: `(G,)` whether a device has to dial for its first call,
        idle_s: `(G,)` and for one that leaves so long after the last.
        open_s: `(R, S)` what that takes, until the call is sent,
        first_up_s: `(R, S)` and what its way up then takes, in place of `up_s`.
        outage_from_s: when a group's calls stop leaving their devices,
        outage_to_s: and when they go on.
        backoff_first_s: most that is waited before the second attempt; each time twice as much,
        backoff_most_s: up to this.
        deadline_s: after which there is no further attempt.
        slots: queries that a replica computes at once.
        slowdown: each one beside it makes a query take so many times its `cloud_s` longer.
        queue: queries that may wait for a slot; those beyond are refused.
        replicas: at the start.
        least_replicas: that scaling leaves,
        most_replicas: and that it makes; where both are `replicas`, nothing is scaled.
        target: share of the slots that scaling wants in use.
        scale_every_s: how often it looks.
        startup_s: from when a replica is paid until it takes queries.
        settle_s: how long fewer must do before some are let go.
        warm_up_s: queries that come before are not measured.
        seconds: when the last queries come; the rest are still answered.
    """

    seed: int
    first_device: Ints
    first_record: Ints
    first_piece: Ints
    first_time: Ints
    first_outage: Ints
    priority: Ints
    piece_from_s: Floats
    piece_rate: Floats
    piece_sum: Floats
    arrival_s: Floats
    period_s: Floats
    device_s: Floats
    defers: Bools
    cloud_s: Floats
    up_s: Floats
    down_s: Floats
    dials: Bools
    idle_s: Floats
    open_s: Floats
    first_up_s: Floats
    outage_from_s: Floats
    outage_to_s: Floats
    backoff_first_s: float
    backoff_most_s: float
    deadline_s: float
    slots: int
    slowdown: float
    queue: int
    replicas: int
    least_replicas: int
    most_replicas: int
    target: float
    scale_every_s: float
    startup_s: float
    settle_s: float
    warm_up_s: float
    seconds: float


@compiled
def key_of(device: int, query: int) -> int:
    """A device's query as one number, below 2**63: by it ties in time are broken."""
    return (device << 32) | query


@inner
def device_of(key: int) -> int:
    """The device of a key."""
    return key >> 32


@inner
def query_of(key: int) -> int:
    """The query of a key, by its number on its device."""
    return key & 0xFFFFFFFF


@compiled
def group_of(model: Model, device: int) -> int:
    """The group of a device."""
    group = 0
    while model.first_device[group + 1] <= device:
        group += 1
    return group


@compiled
def delays_of(model: Model, key: int, record: int, attempt: int) -> tuple[float, float]:
    """What an attempt takes over the network, up and down."""
    many = model.up_s.shape[1]
    if many == 1:
        return model.up_s[record, 0], model.down_s[record, 0]
    sample = sample_of(model.seed, device_of(key), query_of(key), attempt, many)
    return model.up_s[record, sample], model.down_s[record, sample]


@compiled
def dialling_of(model: Model, key: int, record: int, attempt: int) -> tuple[float, float]:
    """What an attempt that dials takes until it is sent, and from then on up."""
    many = model.open_s.shape[1]
    sample = sample_of(model.seed, device_of(key), query_of(key), attempt, many)
    return model.open_s[record, sample], model.first_up_s[record, sample]


@compiled
def is_out(model: Model, group: int, at_s: float) -> bool:
    """Whether no call of a group leaves its device at a time."""
    for k in range(model.first_outage[group], model.first_outage[group + 1]):
        if model.outage_from_s[k] <= at_s < model.outage_to_s[k]:
            return True
    return False


@compiled
def next_attempt(
    model: Model, group: int, key: int, failed_s: float, first_s: float, attempt: int
) -> tuple[bool, float, int]:
    """Whether a failed call leaves its device again; when, or when it was given up; its attempt.

    Exponential back-off with full jitter, as the client has it (`escalade.edge.wire`). A call that
    cannot leave fails at once.
    """
    at_s = failed_s
    while True:
        most_s = min(model.backoff_first_s * 2.0 ** min(attempt, 60), model.backoff_most_s)
        draw = uniform(model.seed, device_of(key), query_of(key), BACKOFF, attempt)
        if at_s + draw * most_s - first_s >= model.deadline_s:
            return False, at_s, attempt
        at_s += draw * most_s
        attempt += 1
        if not is_out(model, group, at_s):
            return True, at_s, attempt
