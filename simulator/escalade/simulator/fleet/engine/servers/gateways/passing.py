"""Queries on their way through gateways, event by event up to a time; knows no device.

Gateways do not know one another, so that one is run after the other.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls, put_call
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import PAST, Ints, Model, home_s
from escalade.simulator.fleet.engine.servers.gateways.onward import count_past, sent_on
from escalade.simulator.fleet.engine.servers.gateways.serving import Serving
from escalade.simulator.fleet.engine.servers.gateways.slots import (
    leave,
    let_go,
    let_in,
    stay,
    take_call,
)
from escalade.simulator.fleet.engine.tally import AT_GATEWAY, DEGRADED, Tally, counted_in, ended


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
                size = _come(model, serving, gateway, calls, order[at], tally, out, size)
                at += 1
    return size


@inner
def _come(
    model: Model,
    serving: Serving,
    gateway: int,
    calls: Calls,
    call: int,
    tally: Tally,
    out: Calls,
    size: int,
) -> int:
    """A call is put into a slot, waits for one, or goes past; returns how many calls there are."""
    job, now_s = take_call(model, serving, calls, call), calls.at_s[call]
    if calls.attempt[call] < PAST:
        tally.near_sent[serving.group[job], counted_in(model, tally, now_s)] += 1
        stay(model, serving, gateway, job, now_s)
        return size
    count_past(model, serving, job, tally)
    return _go_on(model, serving, gateway, job, now_s, PAST, tally, out, size)


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
    job = leave(model, serving, gateway, now_s)
    record = serving.record[job]
    if model.gateways.defers[record]:
        size = _go_on(model, serving, gateway, job, now_s, 0, tally, out, size)
    else:
        key, group = serving.key[job], serving.group[job]
        at_s = now_s + home_s(model, group, key, record, 0)
        ended(model, tally, group, key, AT_GATEWAY, serving.came_s[job], at_s)
        let_go(serving, job)
    let_in(model, serving, gateway, now_s)
    return size


@inner
def _go_on(
    model: Model,
    serving: Serving,
    gateway: int,
    job: int,
    now_s: float,
    attempt: int,
    tally: Tally,
    out: Calls,
    size: int,
) -> int:
    """Put a call to the cloud on its way, or give it up; returns how many calls there are."""
    key, group, came_s = serving.key[job], serving.group[job], serving.came_s[job]
    leaves, at_s, attempt = sent_on(model, serving, gateway, job, now_s, attempt)
    let_go(serving, job)
    if leaves:
        return put_call(out, size, at_s, came_s, now_s, key, attempt)
    at_s += home_s(model, group, key, serving.record[job], attempt)
    ended(model, tally, group, key, DEGRADED, came_s, at_s)
    return size
