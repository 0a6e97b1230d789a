"""What a fleet is made of, as arrays that both engines read; knows no event and no file.

Times are seconds from the start of the run. Devices are numbered through all groups, and so are
recorded queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model.draws import record_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Past(NamedTuple):
    """How devices of G groups ask the cloud themselves, where their gateway gives no answer.

    Attributes:
        allowed: `(G,)` whether they do; else their own answers stand.
        up_s: `(R, S)` delays that such a call meets on its way to the cloud,
        down_s: `(R, S)` and back.
        open_s: `(R, S)` as in `Model`, of these connections; so is `first_up_s`.
    """

    allowed: Bools
    up_s: Floats
    down_s: Floats
    open_s: Floats
    first_up_s: Floats


class Gateways(NamedTuple):
    """What stands between devices and the cloud: K kinds of gateways, numbered through all.

    Attributes:
        kind: `(G,)` of the gateways that a group's devices share; -1 where it has none.
        first: `(K + 1,)` a kind's gateways are those from its own up to the next's.
        slots: `(K,)` queries that one computes at once.
        slowdown: `(K,)` as that of a replica.
        places: `(K,)` queries that may be at one, from when they come until they are answered,
            those that it has asked the cloud among them; it refuses what comes beyond.
        is_bounded: whether any of these is a bound.
        answer_s: `(R,)` what a gateway takes for a query alone.
        defers: `(R,)` whether it then goes on to the cloud.
        up_s: `(R, S)` delays that a call meets on its way to the gateway,
        down_s: `(R, S)` and back to its device.
        dials: `(K,)` whether one has to dial the cloud for its first call,
        idle_s: `(K,)` and for one that leaves so long after the last.
        open_s: `(R, S)` as in `Model`, of these connections; so is `first_up_s`.
        past: the way past them.
    """

    kind: Ints
    first: Ints
    slots: Ints
    slowdown: Floats
    places: Ints
    is_bounded: bool
    answer_s: Floats
    defers: Bools
    up_s: Floats
    down_s: Floats
    dials: Bools
    idle_s: Floats
    open_s: Floats
    first_up_s: Floats
    past: Past


def no_gateways(groups: int) -> Gateways:
    """None between any of so many groups and the cloud."""
    none, never = np.empty(0), np.empty((0, 1))
    return Gateways(
        kind=np.full(groups, -1, np.int64),
        first=np.zeros(1, np.int64),
        slots=np.empty(0, np.int64),
        slowdown=none,
        places=np.empty(0, np.int64),
        is_bounded=False,
        answer_s=none,
        defers=np.empty(0, np.bool_),
        up_s=never,
        down_s=never,
        dials=np.empty(0, np.bool_),
        idle_s=none,
        open_s=never,
        first_up_s=never,
        past=Past(np.zeros(groups, np.bool_), never, never, never, never),
    )


class Model(NamedTuple):
    """A fleet of G groups of devices, R recorded queries, and a cloud.

    Attributes:
        seed: of everything that is drawn.
        first_device: `(G + 1,)` a group's devices are those from its own up to the next's.
        first_record: `(G + 1,)` so are its recorded queries,
        first_piece: `(G + 1,)` the pieces of its rate of arrivals,
        first_time: `(G + 1,)` its recorded arrivals, of which it may have none,
        first_outage: `(3 G + 1,)` outages, rising: of each group's link to the cloud, which is its
            devices' or its gateways', then of each group's link to gateways, and past them.
        priority: `(G,)` whose queries go first where some wait: those of 0.
        piece_from_s: where a piece begins; the last has no end.
        piece_rate: queries a second of one device.
        piece_sum: how many queries of a device are expected before it.
        arrival_s: recorded arrivals of one device, rising, the first at least 0.
        period_s: `(G,)` after which they come again; longer than the last.
        device_s: `(R,)` what a device takes for a query.
        defers: `(R,)` whether it then goes up.
        gateways: between.
        cloud_s: `(R,)` what the cloud takes for it alone on a replica.
        up_s: `(R, S)` delays that a call meets on its way to the cloud, all alike likely.
        down_s: `(R, S)` and back, of the same call.
        dials: `(G,)` whether a device has to dial, the cloud or its gateway, for its first call,
        idle_s: `(G,)` and for one that leaves so long after the last.
        open_s: `(R, S)` what that takes, until the call is sent,
        first_up_s: `(R, S)` and what its way up then takes, in place of that of an open one.
        outage_from_s: when calls stop leaving over a link,
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
    gateways: Gateways
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


@inner
def recorded_as(model: Model, group: int, key: int) -> int:
    """Which recorded query a group's query is."""
    first, end = model.first_record[group], model.first_record[group + 1]
    return int(first + record_of(model.seed, device_of(key), query_of(key), end - first))


@compiled
def gateway_of(model: Model, group: int, device: int) -> int:
    """The gateway of a device, whose group has some: devices take turns."""
    gateways = model.gateways
    kind = gateways.kind[group]
    many = gateways.first[kind + 1] - gateways.first[kind]
    return int(gateways.first[kind] + (device - model.first_device[group]) % many)
