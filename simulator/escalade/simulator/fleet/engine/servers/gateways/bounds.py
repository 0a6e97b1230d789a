"""Places at gateways that have a bound, and who is refused one; knows no slot and no event.

A live gateway holds a request's place until it has answered, while its cloud is asked too
(`escalade.cli.gateway`), and tells who finds none to come back after what one place's turn took
lately: the last query's seconds by the number of places (`escalade.cloud.backends.places`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import Floats, Ints, Model
from escalade.simulator.fleet.engine.servers.gateways.serving import Serving
from escalade.simulator.fleet.engine.servers.heaps import Places, play, pop, push, tournament
from escalade.simulator.fleet.engine.servers.turns import FIRST_RETRY_S, turn_s

#: Places in `Bounds.counts`: calls to come again, and queries to be answered at a known time.
CALLS_AGAIN, BACK = range(2)


class Bounds(NamedTuple):
    """What V gateways need beside `Serving` where any of them refuses, with its J jobs.

    Attributes:
        held: `(V,)` queries at each that are not answered.
        retry_s: `(V,)` after which one tells those that it refuses to come back.
        due_s: `(P,)` as in `Serving`, P the next power of 2; `soonest` is their tournament.
        since_s: `(J,)` when a job came to its place.
        first_s: `(J,)` as in `Calls`; so is `attempt`.
        again_s: `(J,)` a heap of when refused calls come again; `again_key`, `again_job`.
        back_s: `(J,)` one of when queries will have been answered; `back_key`, `back_job`.
        counts: see above.
    """

    held: Ints
    retry_s: Floats
    due_s: Floats
    soonest: Places
    since_s: Floats
    first_s: Floats
    attempt: Ints
    again_s: Floats
    again_key: Ints
    again_job: Places
    back_s: Floats
    back_key: Ints
    back_job: Places
    counts: Ints


def new_bounds(serving: Serving) -> Bounds:
    """Of gateways without a query."""
    many = len(serving.active)
    due_s = np.full(1 << max(0, many - 1).bit_length(), np.inf)
    return Bounds(
        held=np.zeros(many, np.int64),
        retry_s=np.full(many, FIRST_RETRY_S),
        due_s=due_s,
        soonest=tournament(due_s),
        **_jobs(0),
        counts=np.zeros(2, np.int64),
    )


def as_many(bounds: Bounds, serving: Serving) -> Bounds:
    """The same with room for as many jobs as there are."""
    have, many = len(bounds.since_s), len(serving.free)
    if have == many:
        return bounds
    grown = _jobs(many)
    for name, values in grown.items():
        values[:have] = getattr(bounds, name)
    return bounds._replace(**grown)


def _jobs(many: int) -> dict[str, np.ndarray]:
    return {
        **{name: np.zeros(many) for name in ("since_s", "first_s", "again_s", "back_s")},
        **{name: np.zeros(many, np.int64) for name in ("attempt", "again_key", "back_key")},
        **{name: np.zeros(many, np.int32) for name in ("again_job", "back_job")},
    }


@inner
def come_again(bounds: Bounds, job: int, key: int, at_s: float, attempt: int) -> None:
    """Let a job come again at a time, as that attempt."""
    bounds.attempt[job] = attempt
    many = bounds.counts[CALLS_AGAIN]
    push(bounds.again_s, bounds.again_key, bounds.again_job, many, at_s, key, job)
    bounds.counts[CALLS_AGAIN] += 1


@inner
def next_again(bounds: Bounds) -> int:
    """The job that comes again first, taken out."""
    bounds.counts[CALLS_AGAIN] -= 1
    return pop(bounds.again_s, bounds.again_key, bounds.again_job, bounds.counts[CALLS_AGAIN] + 1)


@inner
def answer_at(bounds: Bounds, job: int, key: int, at_s: float) -> None:
    """Say when a job's place comes free."""
    push(bounds.back_s, bounds.back_key, bounds.back_job, bounds.counts[BACK], at_s, key, job)
    bounds.counts[BACK] += 1


@inner
def next_answered(bounds: Bounds) -> int:
    """The job whose place comes free first, taken out."""
    bounds.counts[BACK] -= 1
    return pop(bounds.back_s, bounds.back_key, bounds.back_job, bounds.counts[BACK] + 1)


@inner
def give_back(
    model: Model, serving: Serving, bounds: Bounds, gateway: int, job: int, now_s: float
) -> None:
    """A query is answered, and its place is another's."""
    bounds.held[gateway] -= 1
    places = model.gateways.places[serving.kind[gateway]]
    bounds.retry_s[gateway] = turn_s(now_s - bounds.since_s[job], places)


@inner
def look_due(serving: Serving, bounds: Bounds, gateway: int) -> None:
    """Say when a gateway's first query ends, after that has changed."""
    bounds.due_s[gateway] = serving.due_s[gateway]
    play(bounds.soonest, bounds.due_s, gateway)
