"""A gateway's slots and who waits for them; knows no cloud and no tally."""

from __future__ import annotations

from escalade.simulator.fleet.engine.calls import Calls
from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import Model, device_of, group_of, recorded_as
from escalade.simulator.fleet.engine.servers.gateways.serving import FREE, NOBODY, STARTED, Serving
from escalade.simulator.fleet.engine.servers.heaps import pop, push
from escalade.simulator.fleet.engine.servers.sharing import due_at, progress_at


@inner
def take_call(model: Model, serving: Serving, calls: Calls, call: int) -> int:
    """The job that a call is."""
    serving.counts[FREE] -= 1
    job = serving.free[serving.counts[FREE]]
    key = calls.key[call]
    group = group_of(model, device_of(key))
    serving.came_s[job], serving.key[job], serving.group[job] = calls.came_s[call], key, group
    serving.record[job] = recorded_as(model, group, key)
    return int(job)


@inner
def let_go(serving: Serving, job: int) -> None:
    """A job that is no more here."""
    serving.free[serving.counts[FREE]] = job
    serving.counts[FREE] += 1


@inner
def stay(model: Model, serving: Serving, gateway: int, job: int, now_s: float) -> None:
    """Put a job into a slot, or let it wait for one."""
    slots = serving.slot[gateway + 1] - serving.slot[gateway]
    if serving.active[gateway] < slots:
        _put(model, serving, gateway, job, now_s)
        return
    serving.behind[job] = NOBODY
    if serving.first[gateway] == NOBODY:
        serving.first[gateway] = job
    else:
        serving.behind[serving.last[gateway]] = job
    serving.last[gateway] = job


@inner
def leave(model: Model, serving: Serving, gateway: int, now_s: float) -> int:
    """Take the job that has ended out of its slot."""
    active, kind = serving.active[gateway], serving.kind[gateway]
    first, end = serving.slot[gateway], serving.slot[gateway + 1]
    done_s = serving.end_s[first]
    job = pop(
        serving.end_s[first:end], serving.end_tie[first:end], serving.end_job[first:end], active
    )
    _move(serving, gateway, now_s, done_s, active - 1, model.gateways.slowdown[kind])
    serving.used_s[kind] += max(
        0.0, min(now_s, model.seconds) - min(serving.began_s[job], model.seconds)
    )
    return job


@inner
def let_in(model: Model, serving: Serving, gateway: int, now_s: float) -> None:
    """Put who waits longest into the slot that is free."""
    waits = serving.first[gateway]
    if waits != NOBODY:
        serving.first[gateway] = serving.behind[waits]
        _put(model, serving, gateway, waits, now_s)


@inner
def _put(model: Model, serving: Serving, gateway: int, job: int, now_s: float) -> None:
    """Put a job into a free slot."""
    active = serving.active[gateway]
    slowdown = model.gateways.slowdown[serving.kind[gateway]]
    done_s = progress_at(now_s, serving.done_s[gateway], serving.moved_s[gateway], active, slowdown)
    first, end = serving.slot[gateway], serving.slot[gateway + 1]
    push(
        serving.end_s[first:end],
        serving.end_tie[first:end],
        serving.end_job[first:end],
        active,
        done_s + model.gateways.answer_s[serving.record[job]],
        serving.counts[STARTED],
        job,
    )
    serving.counts[STARTED] += 1
    serving.began_s[job] = now_s
    _move(serving, gateway, now_s, done_s, active + 1, slowdown)


@inner
def _move(
    serving: Serving, gateway: int, now_s: float, done_s: float, active: int, slowdown: float
) -> None:
    """Say how far a gateway's queries are, how many there are, and when the first ends."""
    serving.done_s[gateway], serving.moved_s[gateway] = done_s, now_s
    serving.active[gateway] = active
    end_s = serving.end_s[serving.slot[gateway]]
    serving.due_s[gateway] = due_at(now_s, end_s, done_s, active, slowdown)
