"""Gateways that refuse and the cloud, event by event, up to a time; knows no device.

What the cloud answers frees a place at a gateway, and who finds none there may come to the cloud:
so both are run at once. At one time what ends in the cloud comes before what ends at gateways, that
before places that come free, then what starts, scaling, what arrives at gateways, and in the cloud.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import (
    PAST,
    Floats,
    Ints,
    Model,
    device_of,
    gateway_of,
    home_s,
    leaving,
    leaving_s,
    next_attempt,
    refused_s,
)
from escalade.simulator.fleet.engine.servers.cloud import (
    AGAIN,
    LOOK,
    NOBODY,
    Cloud,
    arrive,
    come,
    come_to_cloud,
    coming_at,
    complete,
    count_use,
    look,
    new_job,
    next_to_cloud,
    take_cloud_call,
)
from escalade.simulator.fleet.engine.servers.gateways import (
    BACK,
    CALLS_AGAIN,
    Bounds,
    Serving,
    answer_at,
    come_again,
    count_past,
    give_back,
    leave,
    let_go,
    let_in,
    look_due,
    next_again,
    next_answered,
    sent_on,
    stay,
    take_call,
)
from escalade.simulator.fleet.engine.tally import AT_GATEWAY, DEGRADED, Tally, counted_in, ended


@compiled
def run_together(
    model: Model,
    serving: Serving,
    bounds: Bounds,
    cloud: Cloud,
    to_gateways: Calls,
    gateways_order: Ints,
    to_cloud: Calls,
    cloud_order: Ints,
    until_s: float,
    tally: Tally,
) -> None:
    """Serve calls up to a time, or with infinity until none is left.

    Args:
        model: the fleet.
        serving: where its gateways stand,
        bounds: and their places,
        cloud: and the cloud; they move on. There is room for the calls in each.
        to_gateways: what comes to gateways, all before `until_s`,
        gateways_order: `(N,)` its places by time, then key,
        to_cloud: and to the cloud from devices without a gateway,
        cloud_order: likewise.
        until_s: events before it happen.
        tally: counts those that end.
    """
    at = far_at = 0
    while True:
        near_s, near_again = _next(
            to_gateways,
            gateways_order,
            at,
            bounds.again_s,
            bounds.again_key,
            bounds.counts[CALLS_AGAIN],
        )
        far_s, far_again = _next(
            to_cloud, cloud_order, far_at, cloud.again_s, cloud.again_key, cloud.counts[AGAIN]
        )
        replica, gateway = cloud.soonest[1], bounds.soonest[1]
        ends_s, passes_s = cloud.due_s[replica], bounds.due_s[gateway]
        back_s = bounds.back_s[0] if bounds.counts[BACK] > 0 else np.inf
        comes_s = coming_at(cloud)
        served_s = min(near_s, far_s, ends_s, passes_s, back_s)
        if served_s == np.inf and until_s == np.inf:
            return
        now_s = min(served_s, comes_s, cloud.times[LOOK])
        if now_s >= until_s:
            return
        count_use(model, cloud, now_s)
        if ends_s == now_s:
            job, answered_s = complete(model, cloud, replica, now_s, tally)
            _say_when(bounds, cloud, job, answered_s)
        elif passes_s == now_s:
            _end(model, serving, bounds, cloud, gateway, now_s, tally)
        elif back_s == now_s:
            _free(model, serving, bounds, next_answered(bounds), now_s)
        elif comes_s == now_s:
            come(model, cloud, now_s)
        elif cloud.times[LOOK] == now_s:
            look(model, cloud, now_s)
        elif near_s == now_s:
            call = -1 if near_again else gateways_order[at]
            _arrive(model, serving, bounds, cloud, to_gateways, call, now_s, tally)
            at += not near_again
        else:
            call = -1 if far_again else cloud_order[far_at]
            _arrive_in_cloud(model, bounds, cloud, to_cloud, call, now_s, tally)
            far_at += not far_again


@inner
def _next(
    calls: Calls, order: Ints, at: int, again_s: Floats, again_key: Ints, again: int
) -> tuple[float, bool]:
    """When a call comes, and whether it came before; infinity for none."""
    new_s, key = np.inf, 0
    if at < len(order):
        new_s, key = calls.at_s[order[at]], calls.key[order[at]]
    if again == 0 or again_s[0] > new_s or (again_s[0] == new_s and key < again_key[0]):
        return new_s, False
    return again_s[0], True


@inner
def _say_when(bounds: Bounds, cloud: Cloud, job: int, answered_s: float) -> None:
    """Of a job that has ended in the cloud: its gateway, where it has one, knows at that time."""
    if cloud.place[job] != NOBODY:
        answer_at(bounds, cloud.place[job], cloud.key[job], answered_s)


@inner
def _free(model: Model, serving: Serving, bounds: Bounds, job: int, now_s: float) -> None:
    """A query that has a place at a gateway is answered."""
    gateway = gateway_of(model, serving.group[job], device_of(serving.key[job]))
    give_back(model, serving, bounds, gateway, job, now_s)
    let_go(serving, job)


@inner
def _end(
    model: Model,
    serving: Serving,
    bounds: Bounds,
    cloud: Cloud,
    gateway: int,
    now_s: float,
    tally: Tally,
) -> None:
    """Send the answer that is there home or the query on, and let the next one in."""
    job = leave(model, serving, gateway, now_s)
    key, record = serving.key[job], serving.record[job]
    if model.gateways.defers[record]:
        gave_up_s = _go_on(model, serving, cloud, gateway, job, now_s, 0, job, tally)
        if gave_up_s < np.inf:
            answer_at(bounds, job, key, gave_up_s)
    else:
        group = serving.group[job]
        at_s = now_s + home_s(model, group, key, record, 0)
        ended(model, tally, group, key, AT_GATEWAY, serving.came_s[job], at_s)
        _free(model, serving, bounds, job, now_s)
    let_in(model, serving, gateway, now_s)
    look_due(serving, bounds, gateway)


@inner
def _arrive(
    model: Model,
    serving: Serving,
    bounds: Bounds,
    cloud: Cloud,
    calls: Calls,
    call: int,
    now_s: float,
    tally: Tally,
) -> None:
    """A call, or with -1 the first to come again, finds a place at its gateway or is refused.

    Or its device goes past that.
    """
    if call < 0:
        job = next_again(bounds)
    else:
        job = take_call(model, serving, calls, call)
        bounds.first_s[job], bounds.attempt[job] = calls.first_s[call], calls.attempt[call]
    gateway = gateway_of(model, serving.group[job], device_of(serving.key[job]))
    kind = serving.kind[gateway]
    if bounds.attempt[job] >= PAST:
        count_past(model, serving, job, tally)
        _go_on(model, serving, cloud, gateway, job, now_s, PAST, NOBODY, tally)
        let_go(serving, job)
        return
    group, window = serving.group[job], counted_in(model, tally, now_s)
    tally.near_sent[group, window] += 1
    if bounds.held[gateway] < model.gateways.places[kind]:
        bounds.held[gateway] += 1
        bounds.since_s[job] = now_s
        stay(model, serving, gateway, job, now_s)
        look_due(serving, bounds, gateway)
    else:
        tally.near_refused[group, window] += 1
        _refuse(model, serving, bounds, gateway, job, now_s, tally)


@inner
def _arrive_in_cloud(
    model: Model,
    bounds: Bounds,
    cloud: Cloud,
    calls: Calls,
    call: int,
    now_s: float,
    tally: Tally,
) -> None:
    """A call, or with -1 the first to come again, comes to the cloud."""
    job = next_to_cloud(cloud) if call < 0 else take_cloud_call(model, cloud, calls, call)
    given_up, answered_s = arrive(model, cloud, job, now_s, tally)
    if given_up:
        _say_when(bounds, cloud, job, answered_s)


@inner
def _refuse(
    model: Model,
    serving: Serving,
    bounds: Bounds,
    gateway: int,
    job: int,
    now_s: float,
    tally: Tally,
) -> None:
    """Its device hears of it, and calls again, goes past the gateway, or gives up."""
    key, group, record = serving.key[job], serving.group[job], serving.record[job]
    attempt = bounds.attempt[job]
    again, at_s, attempt = next_attempt(
        model,
        leaving(model, group),
        key,
        now_s + refused_s(model, key, record, attempt),
        bounds.first_s[job],
        attempt,
        bounds.retry_s[gateway],
    )
    if again:
        at_s += leaving_s(model, group, key, record, attempt)
        come_again(bounds, job, key, at_s, attempt)
    elif model.gateways.past.allowed[group]:
        come_again(bounds, job, key, at_s, PAST)
    else:
        ended(model, tally, group, key, DEGRADED, serving.came_s[job], at_s)
        if serving.came_s[job] >= model.warm_up_s:
            tally.turned_away[group] += 1
        let_go(serving, job)


@inner
def _go_on(
    model: Model,
    serving: Serving,
    cloud: Cloud,
    gateway: int,
    job: int,
    now_s: float,
    attempt: int,
    place: int,
    tally: Tally,
) -> float:
    """Put a call to the cloud on its way, or give it up; returns when that was, or infinity."""
    key, group, record = serving.key[job], serving.group[job], serving.record[job]
    came_s = serving.came_s[job]
    leaves, at_s, attempt = sent_on(model, serving, gateway, job, now_s, attempt)
    if leaves:
        put = new_job(cloud, came_s, now_s, key, attempt, record, group, place)
        come_to_cloud(cloud, put, at_s)
        return float(np.inf)
    home = home_s(model, group, key, record, attempt)
    ended(model, tally, group, key, DEGRADED, came_s, at_s + home)
    return at_s
