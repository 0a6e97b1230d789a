"""Queries that come at given moments, each to a device of its own, before one cloud.

The fleet's engine on one path of arrivals in place of a process of them, so that what a live run
did can be held against it. Knows no network and no trace.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine import (
    ARRIVAL,
    Bools,
    Floats,
    Model,
    no_gateways,
    simulate,
    uniform,
)

#: So that a second query of a device would come after all others' first.
_PERIODS = 10
_NO_BOUND = 1 << 62


class Given(NamedTuple):
    """N queries.

    Attributes:
        came_s: `(N,)` when each comes, at least 0,
        device_s: `(N,)` what its device takes,
        defers: `(N,)` whether it then goes up.
        cloud_s: `(N,)` what the cloud takes for it alone.
        up_s: `(N,)` what its call takes over the network up,
        down_s: `(N,)` and back.
    """

    came_s: Floats
    device_s: Floats
    defers: Bools
    cloud_s: Floats
    up_s: Floats
    down_s: Floats


def latencies_of(given: Given, *, slots: int, slowdown: float) -> Floats:
    """From when each query comes to when its answer is there: `(N,)` seconds.

    Args:
        given: the queries, at least 1.
        slots: that the one replica computes at once, at least 1; all others wait, in turn.
        slowdown: each one beside it makes a query take so many times its `cloud_s` longer.
    """
    many = len(given.came_s)
    seconds = float(given.came_s.max()) + 1.0
    period_s = _PERIODS * seconds
    # Where a device of recorded arrivals begins in them; its first is to be when it comes.
    begin_s = np.array([uniform(0, device, 0, ARRIVAL, 0) for device in range(many)]) * period_s
    one_each = np.arange(many + 1)
    model = Model(
        seed=0,
        first_device=one_each,
        first_record=one_each,
        first_piece=one_each,
        first_time=one_each,
        first_outage=np.zeros(3 * many + 1, np.int64),
        priority=np.zeros(many, np.int64),
        piece_from_s=np.zeros(many),
        piece_rate=np.zeros(many),
        piece_sum=np.zeros(many),
        arrival_s=begin_s + given.came_s,
        period_s=np.full(many, period_s),
        device_s=given.device_s,
        defers=given.defers,
        gateways=no_gateways(many),
        cloud_s=given.cloud_s,
        up_s=given.up_s[:, None],
        down_s=given.down_s[:, None],
        dials=np.zeros(many, np.bool_),
        idle_s=np.zeros(many),
        open_s=np.zeros((many, 1)),
        first_up_s=np.zeros((many, 1)),
        outage_from_s=np.empty(0),
        outage_to_s=np.empty(0),
        backoff_first_s=0.0,
        backoff_most_s=0.0,
        deadline_s=0.0,
        slots=slots,
        slowdown=slowdown,
        queue=_NO_BOUND,
        replicas=1,
        least_replicas=1,
        most_replicas=1,
        target=1.0,
        scale_every_s=math.inf,
        startup_s=0.0,
        settle_s=0.0,
        warm_up_s=0.0,
        seconds=seconds,
    )
    kept = simulate(model, windows=1, threads=1, keep=True).kept
    assert kept is not None  # noqa: S101 - it was asked for
    return kept.latency_s


def replica_s(came_s: Floats, alone_s: Floats, slowdown: float) -> Floats:
    """What queries take on one replica that has room for all: `(N,)` seconds.

    Args:
        came_s: `(N,)` when each comes, at least 0.
        alone_s: `(N,)` what each takes alone.
        slowdown: see `latencies_of`.
    """
    many = len(came_s)
    none = np.zeros(many)
    given = Given(came_s, none, np.ones(many, np.bool_), alone_s, none, none)
    return latencies_of(given, slots=many, slowdown=slowdown)
