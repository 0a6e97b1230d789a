"""The devices: queries come, wait for their turn, and go up or not; knows no cloud.

Devices do not know one another, so that a block of them runs by itself. A device's queue is the
recursion of Lindley (1952): a query starts when it comes or when the one before it is done.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls, put_call
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import (
    ARRIVAL,
    PAST,
    Floats,
    Ints,
    Model,
    connected,
    exponential,
    first_attempt,
    group_of,
    key_of,
    leaving,
    leaving_s,
    record_of,
    uniform,
)
from escalade.simulator.fleet.engine.tally import ANSWERED, DEGRADED, Tally, counted_in, ended


class Devices(NamedTuple):
    """Where D devices stand.

    Attributes:
        queries: `(D,)` how many have come.
        next_s: `(D,)` when the next one comes.
        expected: `(D,)` how many are expected by then.
        free_s: `(D,)` when the last that came is done.
        used_s: `(D,)` when a call last left, minus infinity before the first; empty where no device
            dials.
        open_s: `(D,)` from when its connection is open; likewise.
    """

    queries: Ints
    next_s: Floats
    expected: Floats
    free_s: Floats
    used_s: Floats
    open_s: Floats


@compiled
def next_arrival(
    model: Model, group: int, device: int, query: int, expected: float
) -> tuple[float, float]:
    """When a device's query of that number comes, and how many are expected by then.

    By inversion: where the rate is a step function, the numbers expected at arrivals are those of a
    Poisson process of rate 1 (Çinlar, Introduction to Stochastic Processes, 1975, section 4.7).
    Recorded arrivals are run through from a place of the device's own.
    """
    first, times = model.first_time[group], model.first_time[group + 1] - model.first_time[group]
    if times > 0:
        return _recorded_arrival(model, first, times, model.period_s[group], device, query), 0.0
    expected += exponential(model.seed, device, query)
    low, high = model.first_piece[group], model.first_piece[group + 1] - 1
    while low < high:  # the last piece before which no more are expected
        middle = (low + high + 1) // 2
        if model.piece_sum[middle] <= expected:
            low = middle
        else:
            high = middle - 1
    rate = model.piece_rate[low]
    if rate <= 0.0:
        return np.inf, expected
    return model.piece_from_s[low] + (expected - model.piece_sum[low]) / rate, expected


@inner
def _recorded_arrival(
    model: Model, first: int, times: int, period_s: float, device: int, query: int
) -> float:
    begin_s = uniform(model.seed, device, 0, ARRIVAL, 0) * period_s
    of_device = model.arrival_s[first : first + times]
    turns, place = divmod(np.searchsorted(of_device, begin_s) + query, times)
    return float(turns * period_s + of_device[place] - begin_s)


@compiled
def run_devices(
    model: Model, devices: Devices, first: int, last: int, until_s: float, tally: Tally, out: Calls
) -> tuple[int, int]:
    """Let a block's queries come until a time.

    Args:
        model: the fleet.
        devices: where they stand; they move on.
        first: the block's first device,
        last: and the one after its last, of the same group.
        until_s: queries before this time come.
        tally: counts those that end on their devices; of one group, the block's.
        out: takes the calls to the cloud, or to gateways.

    Returns:
        The device to go on with where there was no more room, else `last`; and the calls made.
    """
    group = group_of(model, first)
    records = model.first_record[group + 1] - model.first_record[group]
    room = len(out.at_s)
    if tally.kept.shape[1] > 0:
        room = min(room, tally.kept.shape[1])
    size = 0
    for device in range(first, last):
        while devices.next_s[device] < until_s:
            if size == room or (tally.kept.shape[1] > 0 and tally.size[0] == room):
                return device, size
            query, came_s = devices.queries[device], devices.next_s[device]
            tally.arrived[0, counted_in(model, tally, came_s)] += 1
            record = model.first_record[group] + record_of(model.seed, device, query, records)
            done_s = max(came_s, devices.free_s[device]) + model.device_s[record]
            devices.free_s[device] = done_s
            key = key_of(device, query)
            if model.defers[record]:
                size = _send(model, devices, tally, out, size, device, key, record, came_s, done_s)
            else:
                ended(model, tally, 0, key, ANSWERED, came_s, done_s)
            devices.queries[device] = query + 1
            devices.next_s[device], devices.expected[device] = next_arrival(
                model, group, device, query + 1, devices.expected[device]
            )
    return last, size


@inner
def _send(
    model: Model,
    devices: Devices,
    tally: Tally,
    out: Calls,
    size: int,
    device: int,
    key: int,
    record: int,
    came_s: float,
    done_s: float,
) -> int:
    """Put a call on its way, or give it up; returns how many calls there are."""
    group = group_of(model, device)
    leaves, sent_s, attempt = first_attempt(model, leaving(model, group), key, done_s, 0)
    if not leaves and model.gateways.past.allowed[group]:
        return put_call(out, size, sent_s, came_s, sent_s, key, PAST)
    if not leaves:
        ended(model, tally, 0, key, DEGRADED, came_s, sent_s)
        return size
    tally.left[0] += 1
    up_s = leaving_s(model, group, key, record, attempt)
    if model.dials[group]:
        sent_s, up_s = connected(
            model,
            devices.used_s,
            devices.open_s,
            device,
            model.idle_s[group],
            model.open_s,
            model.first_up_s,
            key,
            record,
            attempt,
            sent_s,
            up_s,
        )
    return put_call(out, size, sent_s + up_s, came_s, done_s, key, attempt)


def new_devices(model: Model) -> Devices:
    """All devices before their first query."""
    many = int(model.first_device[-1])
    dialling = many if model.dials.any() else 0
    devices = Devices(
        queries=np.zeros(many, np.int64),
        next_s=np.zeros(many),
        expected=np.zeros(many),
        free_s=np.zeros(many),
        used_s=np.full(dialling, -np.inf),
        open_s=np.full(dialling, -np.inf),
    )
    _begin(model, devices)
    return devices


@compiled
def _begin(model: Model, devices: Devices) -> None:
    for device in range(len(devices.queries)):
        group = group_of(model, device)
        devices.next_s[device], devices.expected[device] = next_arrival(
            model, group, device, 0, 0.0
        )
