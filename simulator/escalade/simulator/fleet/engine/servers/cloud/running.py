"""The cloud, event by event, up to a time; knows no device.

At one time what ends comes before what starts, that before scaling, and that before what arrives.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import (
    Ints,
    Model,
    delays_of,
    device_of,
    group_of,
    home_s,
    next_attempt,
    recorded_as,
    to_cloud,
)
from escalade.simulator.fleet.engine.servers.cloud.replicas import (
    AGAIN,
    COUNTED,
    FREE,
    LOOK,
    NOBODY,
    PAID,
    RETRY,
    USED,
    WAITING,
    Cloud,
    complete,
    put,
    wait,
)
from escalade.simulator.fleet.engine.servers.cloud.scaling import come, coming_at, look
from escalade.simulator.fleet.engine.servers.heaps import pop, push
from escalade.simulator.fleet.engine.tally import DEGRADED, Tally, counted_in, ended, window_of


@compiled
def run_cloud(
    model: Model, cloud: Cloud, calls: Calls, order: Ints, until_s: float, tally: Tally
) -> None:
    """Serve calls up to a time, or with infinity until none is left.

    Args:
        model: the fleet.
        cloud: where it stands; it moves on. It has room for the calls.
        calls: what comes, all before `until_s`.
        order: `(N,)` their places by time, then key.
        until_s: events before it happen.
        tally: counts those that end.
    """
    at = 0
    while True:
        arrives_s, is_again = _next_arrival(cloud, calls, order, at)
        replica = cloud.soonest[1]
        ends_s, comes_s = cloud.due_s[replica], coming_at(cloud)
        if arrives_s == np.inf and ends_s == np.inf and until_s == np.inf:
            return
        now_s = min(ends_s, comes_s, cloud.times[LOOK], arrives_s)
        if now_s >= until_s:
            return
        count_use(model, cloud, now_s)
        if ends_s == now_s:
            complete(model, cloud, replica, now_s, tally)
        elif comes_s == now_s:
            come(model, cloud, now_s)
        elif cloud.times[LOOK] == now_s:
            look(model, cloud, now_s)
        elif is_again:
            arrive(model, cloud, next_to_cloud(cloud), now_s, tally)
        else:
            arrive(model, cloud, take_cloud_call(model, cloud, calls, order[at]), now_s, tally)
            at += 1


@inner
def _next_arrival(cloud: Cloud, calls: Calls, order: Ints, at: int) -> tuple[float, bool]:
    """When a call comes, and whether it came before."""
    new_s = np.inf
    if at < len(order):
        new_s = calls.at_s[order[at]]
    if cloud.counts[AGAIN] == 0 or cloud.again_s[0] > new_s:
        return new_s, False
    if cloud.again_s[0] == new_s and calls.key[order[at]] < cloud.again_key[0]:
        return new_s, False
    return cloud.again_s[0], True


@inner
def take_cloud_call(model: Model, cloud: Cloud, calls: Calls, call: int) -> int:
    """The job that a call is."""
    key = calls.key[call]
    group = group_of(model, device_of(key))
    record = recorded_as(model, group, key)
    came_s, first_s = calls.came_s[call], calls.first_s[call]
    return new_job(cloud, came_s, first_s, key, calls.attempt[call], record, group, NOBODY)


@inner
def new_job(
    cloud: Cloud,
    came_s: float,
    first_s: float,
    key: int,
    attempt: int,
    record: int,
    group: int,
    place: int,
) -> int:
    """A job that is these."""
    cloud.counts[FREE] -= 1
    job = cloud.free[cloud.counts[FREE]]
    cloud.came_s[job], cloud.first_s[job] = came_s, first_s
    cloud.key[job], cloud.attempt[job] = key, attempt
    cloud.record[job], cloud.group[job], cloud.place[job] = record, group, place
    return int(job)


@inner
def come_to_cloud(cloud: Cloud, job: int, at_s: float) -> None:
    """Let a job come at a time."""
    many, key = cloud.counts[AGAIN], cloud.key[job]
    push(cloud.again_s, cloud.again_key, cloud.again_job, many, at_s, key, job)
    cloud.counts[AGAIN] += 1


@inner
def next_to_cloud(cloud: Cloud) -> int:
    """The job that is the first to come, taken out."""
    cloud.counts[AGAIN] -= 1
    return pop(cloud.again_s, cloud.again_key, cloud.again_job, cloud.counts[AGAIN] + 1)


@inner
def arrive(model: Model, cloud: Cloud, job: int, now_s: float, tally: Tally) -> tuple[bool, float]:
    """A call is put into a slot, waits for one, or is refused.

    Returns:
        Whether it was given up, and when.
    """
    group, window = cloud.group[job], counted_in(model, tally, now_s)
    tally.sent[group, window] += 1
    replica = cloud.least[1]
    if cloud.load[replica] < model.slots:
        put(model, cloud, replica, job, now_s)
    elif cloud.counts[WAITING] < model.queue:
        wait(model, cloud, job)
    else:
        tally.refused[group, window] += 1
        return _refuse(model, cloud, job, now_s, tally)
    return False, now_s


@inner
def _refuse(model: Model, cloud: Cloud, job: int, now_s: float, tally: Tally) -> tuple[bool, float]:
    """Who called hears of it, and calls again or gives up; returns whether, and when."""
    key, group, record = cloud.key[job], cloud.group[job], cloud.record[job]
    attempt = cloud.attempt[job]
    _, down_s = delays_of(model, key, record, attempt)
    link = to_cloud(model, group, attempt)
    again, at_s, attempt = next_attempt(
        model, link, key, now_s + down_s, cloud.first_s[job], attempt, cloud.times[RETRY]
    )
    if again:
        up_s, _ = delays_of(model, key, record, attempt)
        cloud.attempt[job] = attempt
        come_to_cloud(cloud, job, at_s + up_s)
        return False, at_s
    home = home_s(model, group, key, record, attempt)
    ended(model, tally, group, key, DEGRADED, cloud.came_s[job], at_s + home)
    cloud.free[cloud.counts[FREE]] = job
    cloud.counts[FREE] += 1
    return True, at_s


@compiled
def count_use(model: Model, cloud: Cloud, now_s: float) -> None:
    """Count what is in use, waits and is paid since the last event; nothing after the end."""
    at_s, end_s = cloud.times[COUNTED], min(now_s, model.seconds)
    windows = len(cloud.used_s)
    window = window_of(model, at_s, windows)
    while at_s < end_s:
        stop_s = end_s
        if window < windows - 1:
            stop_s = min(end_s, (window + 1) * model.seconds / windows)
        if stop_s > at_s:
            cloud.used_s[window] += (stop_s - at_s) * cloud.counts[USED]
            cloud.waited_s[window] += (stop_s - at_s) * cloud.counts[WAITING]
            cloud.paid_s[window] += (stop_s - at_s) * cloud.counts[PAID]
            at_s = stop_s
        window += 1
    cloud.times[COUNTED] = max(cloud.times[COUNTED], now_s)
