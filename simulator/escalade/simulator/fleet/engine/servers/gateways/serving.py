"""Gateways between devices and the cloud: each a server with a queue; knows neither of these.

A gateway computes up to `slots` queries at once, as a replica of the cloud does (`sharing`); all
others wait, in the order in which they came. What its own gate does not let stand goes on to the
cloud (`passing`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls
from escalade.simulator.fleet.engine.compiling import compiled
from escalade.simulator.fleet.engine.model import (
    Floats,
    Ints,
    Model,
    device_of,
    gateway_of,
    group_of,
)
from escalade.simulator.fleet.engine.servers.heaps import Places

#: Places in `Serving.counts`: jobs that are free; queries that were ever put into a slot.
FREE, STARTED = range(2)
NOBODY = -1


class Serving(NamedTuple):
    """Where V gateways of K kinds stand, with J jobs in them or waiting for them.

    Attributes:
        kind: `(V,)` of each.
        slot: `(V + 1,)` where its slots begin.
        active: `(V,)` queries in them.
        due_s: `(V,)` when the first of these ends.
        done_s: `(V,)` how far they are,
        moved_s: `(V,)` and when that was.
        end_s: heaps of how far they are when they end, each from `slot` on; `end_tie`, `end_job`.
        first: `(V,)` the job that waits longest; -1 for none,
        last: `(V,)` and that which came last.
        behind: `(J,)` the job that waits behind one; -1 for none.
        came_s: `(J,)` of a job, as in `Calls`; so is `key`.
        group: `(J,)` the group of its device.
        record: `(J,)` its recorded query.
        began_s: `(J,)` when it was put into a slot.
        free: `(J,)` jobs that are none, a stack.
        counts: see above.
        used_s: `(K,)` seconds of slots in use, until the run's end.
        called_s: `(V,)` when one last called the cloud; empty where none dials,
        open_s: `(V,)` and from when its connection is open.
        past_called_s: `(D,)` the same of devices past them; likewise.
        past_open_s: `(D,)`.
    """

    kind: Ints
    slot: Ints
    active: Ints
    due_s: Floats
    done_s: Floats
    moved_s: Floats
    end_s: Floats
    end_tie: Ints
    end_job: Places
    first: Places
    last: Places
    behind: Places
    came_s: Floats
    key: Ints
    group: Ints
    record: Ints
    began_s: Floats
    free: Places
    counts: Ints
    used_s: Floats
    called_s: Floats
    open_s: Floats
    past_called_s: Floats
    past_open_s: Floats


def new_serving(model: Model) -> Serving:
    """All gateways without a query."""
    gateways = model.gateways
    kinds = len(gateways.slots)
    kind = np.repeat(np.arange(kinds), np.diff(gateways.first))
    many = len(kind)
    slot = np.concatenate([[0], np.cumsum(gateways.slots[kind])]).astype(np.int64)
    slots = int(slot[-1])
    dialling = many if gateways.dials.any() else 0
    past = int(model.first_device[-1]) if (gateways.past.allowed & model.dials).any() else 0
    return Serving(
        kind=kind,
        slot=slot,
        active=np.zeros(many, np.int64),
        due_s=np.full(many, np.inf),
        done_s=np.zeros(many),
        moved_s=np.zeros(many),
        end_s=np.zeros(slots),
        end_tie=np.zeros(slots, np.int64),
        end_job=np.zeros(slots, np.int32),
        first=np.full(many, NOBODY, np.int32),
        last=np.full(many, NOBODY, np.int32),
        **_jobs(0),
        counts=np.zeros(2, np.int64),
        used_s=np.zeros(kinds),
        called_s=np.full(dialling, -np.inf),
        open_s=np.full(dialling, -np.inf),
        past_called_s=np.full(past, -np.inf),
        past_open_s=np.full(past, -np.inf),
    )


def at_gateways(serving: Serving) -> int:
    """How many jobs there are: computed or waiting."""
    return len(serving.free) - int(serving.counts[FREE])


def with_jobs(serving: Serving, more: int) -> Serving:
    """The same gateways with room for so many more jobs."""
    have, free = len(serving.free), int(serving.counts[FREE])
    if free >= more:
        return serving
    grown = _jobs(max(2 * have, have + more))
    for name, values in grown.items():
        values[:have] = getattr(serving, name)
    added = len(grown["free"]) - have
    grown["free"][free : free + added] = np.arange(have, have + added)
    serving.counts[FREE] += added
    return serving._replace(**grown)


def _jobs(many: int) -> dict[str, np.ndarray]:
    return {
        **{name: np.zeros(many) for name in ("came_s", "began_s")},
        **{name: np.zeros(many, np.int64) for name in ("key", "group", "record")},
        **{name: np.zeros(many, np.int32) for name in ("behind", "free")},
    }


@compiled
def say_gateways(model: Model, calls: Calls, whose: Ints) -> None:
    """Write down whose each call is: `(N,)` gateways."""
    for k in range(len(whose)):
        device = device_of(calls.key[k])
        whose[k] = gateway_of(model, group_of(model, device), device)
