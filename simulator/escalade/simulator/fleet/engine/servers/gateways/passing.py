"""Queries on their way through gateways, event by event up to a time; knows no device.

Gateways do not know one another, so that one is run after the other.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls, put_call
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import (
    Ints,
    Model,
    delays_of,
    device_of,
    first_attempt,
    group_of,
    home_s,
    recorded_as,
)
from escalade.simulator.fleet.engine.servers.gateways.serving import FREE, NOBODY, STARTED, Serving
from escalade.simulator.fleet.engine.servers.heaps import pop, push
from escalade.simulator.fleet.engine.servers.sharing import due_at, progress_at
from escalade.simulator.fleet.engine.tally import AT_GATEWAY, DEGRADED, Tally, ended


@compiled
def run_gateways(
    model: Model,
    serving: Serving,
    calls: Calls,
    whose: Ints,
    order: Ints,
    until_s: float,
    tally: Tally,
    out: Calls,
) -> int:
    """Serve calls up to a time, or with infinity until none is left.

    Args:
        model: the fleet.
        serving: where its gateways stand; they move on. There is room for the calls.
        calls: what comes, all before `until_s`.
        whose: `(N,)` the gateway of each.
        order: `(N,)` their places by gateway, time, and key.
        until_s: events before it happen.
        tally: counts those that end.
        out: takes the calls to the cloud; it has room for all.

    Returns:
        How many of these there are.
    """
    at = size = 0
    for gateway in range(len(serving.active)):
        while True:
            comes_s = np.inf
            if at < len(order) and whose[order[at]] == gateway:
                comes_s = calls.at_s[order[at]]
            ends_s = serving.due_s[gateway]
            if min(ends_s, comes_s) >= until_s:
                break
            if ends_s <= comes_s:
                size = _end(model, serving, gateway, ends_s, tally, out, size)
            else:
                _come(model, serving, gateway, calls, order[at])
                at += 1
    return size


@inner
def _come(model: Model, serving: Serving, gateway: int, calls: Calls, call: int) -> None:
    """A call is put into a slot, or waits for one."""
    serving.counts[FREE] -= 1
    job = serving.free[serving.counts[FREE]]
    key = calls.key[call]
    group = group_of(model, device_of(key))
    serving.came_s[job], serving.key[job], serving.group[job] = calls.came_s[call], key, group
    serving.record[job] = recorded_as(model, group, key)
    slots = serving.slot[gateway + 1] - serving.slot[gateway]
    if serving.active[gateway] < slots:
        _put(model, serving, gateway, job, calls.at_s[call])
        return
    serving.behind[job] = NOBODY
    if serving.first[gateway] == NOBODY:
        serving.first[gateway] = job
    else:
        serving.behind[serving.last[gateway]] = job
    serving.last[gateway] = job


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


@inner
def _end(
    model: Model,
    serving: Serving,
    gateway: int,
    now_s: float,
    tally: Tally,
    out: Calls,
    size: int,
) -> int:
    """Send the answer that is there home or the query on, and let the next one in.

    Returns:
        How many calls to the cloud there are.
    """
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
    came_s, key = serving.came_s[job], serving.key[job]
    group, record = serving.group[job], serving.record[job]
    if model.gateways.defers[record]:
        size = _go_on(model, group, record, key, came_s, now_s, tally, out, size)
    else:
        at_s = now_s + home_s(model, group, key, record)
        ended(model, tally, group, key, AT_GATEWAY, came_s, at_s)
    serving.free[serving.counts[FREE]] = job
    serving.counts[FREE] += 1
    waits = serving.first[gateway]
    if waits != NOBODY:
        serving.first[gateway] = serving.behind[waits]
        _put(model, serving, gateway, waits, now_s)
    return size


@inner
def _go_on(
    model: Model,
    group: int,
    record: int,
    key: int,
    came_s: float,
    now_s: float,
    tally: Tally,
    out: Calls,
    size: int,
) -> int:
    """Put a call to the cloud on its way, or give it up; returns how many calls there are."""
    leaves, sent_s, attempt = first_attempt(model, group, key, now_s)
    if not leaves:
        at_s = sent_s + home_s(model, group, key, record)
        ended(model, tally, group, key, DEGRADED, came_s, at_s)
        return size
    up_s, _ = delays_of(model, key, record, attempt)
    return put_call(out, size, sent_s + up_s, came_s, now_s, key, attempt)
