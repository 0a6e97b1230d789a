"""The cloud's replicas and the queries in them; knows no arrival and no scaling.

A replica computes up to `slots` queries at once and shares itself evenly (`sharing`): continuous
batching, whose step takes longer by so much for each sequence in it. One slot is the server of
queueing theory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import Floats, Ints, Model, delays_of, home_s
from escalade.simulator.fleet.engine.servers.heaps import Places, play, pop, push, tournament
from escalade.simulator.fleet.engine.servers.sharing import due_at, progress_at
from escalade.simulator.fleet.engine.servers.turns import FIRST_RETRY_S, turn_s
from escalade.simulator.fleet.engine.tally import DEFERRED, Tally, ended

#: What a replica does. Leaving: it computes what it has and takes no more.
OFF, STARTING, TAKING, LEAVING = 0, 1, 2, 3

#: Of a job without a place at a gateway.
NOBODY = -1
#: Places in `Cloud.counts`: queries in slots, waiting, and to be tried again; replicas that take
#: queries, that start, and that are paid; those that start first; jobs that are free; queries that
#: were ever put into a slot.
USED, WAITING, AGAIN, ON, COMING, PAID, FIRST_COMING, FREE, STARTED = range(9)
#: Places in `Cloud.times`: until when use is counted; when scaling looks next; since when fewer
#: replicas would do, and the most that would have since; when a query last ended, and how long
#: those that are refused wait at least.
COUNTED, LOOK, LOW_SINCE, LOW_MOST, ENDED, RETRY = range(6)


class Cloud(NamedTuple):
    """P replicas (a power of 2), J jobs in them or waiting for them, W bins of time, Q priorities.

    Attributes:
        state: `(P,)` what each replica does.
        active: `(P,)` queries in it.
        load: `(P,)` these, or infinity where it takes none; `least` is their tournament.
        due_s: `(P,)` when the first of them ends; `soonest` is their tournament.
        done_s: `(P,)` progress of each of its queries,
        moved_s: `(P,)` and when that was.
        end_s: `(P, slots)` heaps of the progress at which its queries end; `end_tie`, `end_job`.
        coming_s: `(P,)` a ring of when replicas that start will take queries; `coming`.
        came_s: `(J,)` of a job, as in `Calls`; so are `first_s`, `key` and `attempt`.
        began_s: `(J,)` when it was put into its slot.
        record: `(J,)` its recorded query.
        group: `(J,)` the group of its device.
        place: `(J,)` what it is at a gateway that has a bound; -1 for none.
        free: `(J,)` jobs that are none, a stack.
        waiting: `(Q, J)` rings of jobs that wait; `wait_first` and `wait_size` of each.
        again_s: `(J,)` a heap of when failed calls come again, and of when those come of gateways
            that refuse; `again_key`, `again_job`.
        counts: see above; `times` too.
        used_s: `(W,)` seconds of slots in use,
        waited_s: `(W,)` of queries that wait,
        paid_s: `(W,)` of replicas that are paid.
    """

    state: Ints
    active: Ints
    load: Floats
    least: Places
    due_s: Floats
    soonest: Places
    done_s: Floats
    moved_s: Floats
    end_s: Floats
    end_tie: Ints
    end_job: Places
    coming_s: Floats
    coming: Places
    came_s: Floats
    began_s: Floats
    first_s: Floats
    key: Ints
    attempt: Ints
    record: Ints
    group: Ints
    place: Places
    free: Places
    waiting: Places
    wait_first: Ints
    wait_size: Ints
    again_s: Floats
    again_key: Ints
    again_job: Places
    counts: Ints
    times: Floats
    used_s: Floats
    waited_s: Floats
    paid_s: Floats


def new_cloud(model: Model, windows: int) -> Cloud:
    """A cloud without a query."""
    places = 1 << max(0, int(model.most_replicas) - 1).bit_length()
    priorities = int(model.priority.max()) + 1
    state = np.zeros(places, np.int64)
    state[: model.replicas] = TAKING
    load = np.where(state == TAKING, 0.0, np.inf)
    due_s = np.full(places, np.inf)
    counts = np.zeros(9, np.int64)
    counts[ON] = counts[PAID] = model.replicas
    look_s = np.inf if model.least_replicas == model.most_replicas else model.scale_every_s
    slots = (places, model.slots)
    return Cloud(
        state=state,
        active=np.zeros(places, np.int64),
        load=load,
        least=tournament(load),
        due_s=due_s,
        soonest=tournament(due_s),
        done_s=np.zeros(places),
        moved_s=np.zeros(places),
        end_s=np.zeros(slots),
        end_tie=np.zeros(slots, np.int64),
        end_job=np.zeros(slots, np.int32),
        coming_s=np.zeros(places),
        coming=np.zeros(places, np.int32),
        **_jobs(0, priorities),
        wait_first=np.zeros(priorities, np.int64),
        wait_size=np.zeros(priorities, np.int64),
        counts=counts,
        times=np.array([0.0, look_s, np.inf, 0.0, -np.inf, FIRST_RETRY_S]),
        used_s=np.zeros(windows),
        waited_s=np.zeros(windows),
        paid_s=np.zeros(windows),
    )


def in_cloud(cloud: Cloud) -> int:
    """How many jobs there are: computed, waiting, or to come again."""
    return len(cloud.free) - int(cloud.counts[FREE])


def with_room(cloud: Cloud, more: int) -> Cloud:
    """The same cloud with room for so many more jobs."""
    have = len(cloud.free)
    if cloud.counts[FREE] >= more:
        return cloud
    grown = _jobs(max(2 * have, have + more), len(cloud.wait_size))
    for name in ("came_s", "began_s", "first_s", "key", "attempt", "record", "group", "place"):
        grown[name][:have] = getattr(cloud, name)
    for name in ("again_s", "again_key", "again_job"):
        grown[name][:have] = getattr(cloud, name)
    for priority, (first, size) in enumerate(zip(cloud.wait_first, cloud.wait_size, strict=True)):
        places = (first + np.arange(size)) % max(1, have)
        grown["waiting"][priority, :size] = cloud.waiting[priority, places]
    free, added = int(cloud.counts[FREE]), len(grown["free"]) - have
    grown["free"][:free] = cloud.free[:free]
    grown["free"][free : free + added] = np.arange(have, have + added)
    cloud.wait_first[:] = 0
    cloud.counts[FREE] += added
    return cloud._replace(**grown)


def _jobs(many: int, priorities: int) -> dict[str, np.ndarray]:
    floats = ("came_s", "began_s", "first_s", "again_s")
    whole = ("key", "attempt", "record", "group", "again_key")
    return {
        **{name: np.zeros(many) for name in floats},
        **{name: np.zeros(many, np.int64) for name in whole},
        **{name: np.zeros(many, np.int32) for name in ("place", "free", "again_job")},
        "waiting": np.zeros((priorities, many), np.int32),
    }


@inner
def put(model: Model, cloud: Cloud, replica: int, job: int, now_s: float) -> None:
    """Put a job into a free slot."""
    active = cloud.active[replica]
    cloud.done_s[replica] = progress_at(
        now_s, cloud.done_s[replica], cloud.moved_s[replica], active, model.slowdown
    )
    cloud.moved_s[replica] = now_s
    cloud.began_s[job] = now_s
    push(
        cloud.end_s[replica],
        cloud.end_tie[replica],
        cloud.end_job[replica],
        active,
        cloud.done_s[replica] + model.cloud_s[cloud.record[job]],
        cloud.counts[STARTED],
        job,
    )
    cloud.counts[STARTED] += 1
    cloud.counts[USED] += 1
    _set_active(model, cloud, replica, active + 1, now_s)


@inner
def take(model: Model, cloud: Cloud, replica: int, now_s: float) -> int:
    """Take the job that has ended out of its slot."""
    active = cloud.active[replica]
    cloud.done_s[replica] = cloud.end_s[replica, 0]
    cloud.moved_s[replica] = now_s
    job = pop(cloud.end_s[replica], cloud.end_tie[replica], cloud.end_job[replica], active)
    cloud.counts[USED] -= 1
    _set_active(model, cloud, replica, active - 1, now_s)
    return job


@inner
def _set_active(model: Model, cloud: Cloud, replica: int, active: int, now_s: float) -> None:
    cloud.active[replica] = active
    cloud.due_s[replica] = due_at(
        now_s, cloud.end_s[replica, 0], cloud.done_s[replica], active, model.slowdown
    )
    play(cloud.soonest, cloud.due_s, replica)
    if cloud.state[replica] == TAKING:
        cloud.load[replica] = active
        play(cloud.least, cloud.load, replica)
    elif cloud.state[replica] == LEAVING and active == 0:
        cloud.state[replica] = OFF
        cloud.counts[PAID] -= 1


@inner
def note_turn(model: Model, cloud: Cloud, now_s: float, took_s: float) -> None:
    """What those that are refused are told after a query ended; of several at one time the most."""
    retry_s = turn_s(took_s, cloud.counts[ON] * model.slots)
    if now_s > cloud.times[ENDED]:
        cloud.times[ENDED], cloud.times[RETRY] = now_s, retry_s
    elif now_s == cloud.times[ENDED]:
        cloud.times[RETRY] = max(cloud.times[RETRY], retry_s)


@inner
def wait(model: Model, cloud: Cloud, job: int) -> None:
    """Let a job wait."""
    line = model.priority[cloud.group[job]]
    place = (cloud.wait_first[line] + cloud.wait_size[line]) % cloud.waiting.shape[1]
    cloud.waiting[line, place] = job
    cloud.wait_size[line] += 1
    cloud.counts[WAITING] += 1


@inner
def fill(model: Model, cloud: Cloud, replica: int, now_s: float) -> None:
    """Put who waits into the free slots of a replica that takes queries."""
    while cloud.counts[WAITING] > 0 and cloud.active[replica] < model.slots:
        line = 0
        while cloud.wait_size[line] == 0:
            line += 1
        job = cloud.waiting[line, cloud.wait_first[line]]
        cloud.wait_first[line] = (cloud.wait_first[line] + 1) % cloud.waiting.shape[1]
        cloud.wait_size[line] -= 1
        cloud.counts[WAITING] -= 1
        put(model, cloud, replica, job, now_s)


@inner
def complete(
    model: Model, cloud: Cloud, replica: int, now_s: float, tally: Tally
) -> tuple[int, float]:
    """Send the answer of the job that has ended, and let the next one in.

    Returns:
        Which job that was, and when its answer is with who called.
    """
    job = take(model, cloud, replica, now_s)
    note_turn(model, cloud, now_s, now_s - cloud.began_s[job])
    key, record = cloud.key[job], cloud.record[job]
    attempt = cloud.attempt[job]
    _, down_s = delays_of(model, key, record, attempt)
    group = cloud.group[job]
    back_s = now_s + down_s
    at_s = back_s + home_s(model, group, key, record, attempt)
    ended(model, tally, group, key, DEFERRED, cloud.came_s[job], at_s)
    cloud.free[cloud.counts[FREE]] = job
    cloud.counts[FREE] += 1
    if cloud.state[replica] == TAKING:
        fill(model, cloud, replica, now_s)
    return job, back_s
