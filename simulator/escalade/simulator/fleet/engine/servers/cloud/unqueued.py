"""A stretch in which nobody waits for a slot: each call by itself, in no order; knows no queue.

Where replicas neither slow down nor scale, a call that finds a slot ends when its own time is over,
whatever else there is. Whether all find one is known from how many come and would end in each of
many short bins of time; no event is looked for and nothing is sorted. `run_cloud` does all other
stretches, from the same cloud to the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.simulator.fleet.engine.calls import Calls
from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model import (
    Floats,
    Ints,
    Model,
    delays_of,
    device_of,
    group_of,
    home_s,
    recorded_as,
)
from escalade.simulator.fleet.engine.servers.cloud.replicas import (
    AGAIN,
    COUNTED,
    FREE,
    STARTED,
    USED,
    WAITING,
    Cloud,
    note_turn,
)
from escalade.simulator.fleet.engine.servers.cloud.running import count_use
from escalade.simulator.fleet.engine.servers.heaps import Places, play, push
from escalade.simulator.fleet.engine.tally import DEFERRED, Tally, counted_in, ended, window_of

#: Bins of a stretch: 4 MB, and at most a few calls in each.
_BINS = 1 << 20


def run_unqueued(
    model: Model, cloud: Cloud, sent: Sequence[Calls], until_s: float, tally: Tally
) -> bool:
    """Serve all calls that come before a time, if each of them finds a slot.

    Args:
        model: the fleet.
        cloud: where it stands; it moves on if they do, and has room for its slots.
        sent: calls, in any order.
        until_s: those that come before are served.
        tally: counts those that end before.

    Returns:
        Whether they do; if not, nothing has changed.
    """
    is_fixed = model.slowdown == 0 and model.least_replicas == model.most_replicas
    if not is_fixed or cloud.counts[WAITING] or cloud.counts[AGAIN]:
        return False
    slots = model.replicas * model.slots
    ends_s = [np.empty(len(one.at_s)) for one in sent]
    before_s, jobs = np.empty(slots), np.empty(slots, np.int64)
    many = look_up(cloud, before_s, jobs)
    bins = _Bins.of(sent, until_s)
    count_ends(bins, before_s[:many])
    for calls, ends in zip(sent, ends_s, strict=True):
        say_ends(model, bins, calls, ends)
    if not has_room(bins, slots - many):
        return False
    clear(model, cloud, until_s)
    keep_on(model, cloud, before_s[:many], jobs[:many], until_s, tally)
    for calls, ends in zip(sent, ends_s, strict=True):
        serve(model, cloud, calls, ends, until_s, tally)
    settle(model, cloud)
    return True


class _Bins(NamedTuple):
    """Time from the first call to the last, in bins.

    Attributes:
        from_s: when the first one comes,
        to_s: and the last.
        per_s: bins a second.
        more: how many come in a bin, less those that end in the one before; of one bin more.
    """

    from_s: float
    to_s: float
    per_s: float
    more: Places

    @staticmethod
    def of(sent: Sequence[Calls], until_s: float) -> _Bins:
        """Of the calls that come before a time."""
        due = [one.at_s[one.at_s < until_s] for one in sent]
        due = [one for one in due if len(one)]
        from_s = min((float(one.min()) for one in due), default=0.0)
        to_s = max((float(one.max()) for one in due), default=0.0)
        bins = min(_BINS, 4 * sum(map(len, due)) + 1)
        # So that the last call is in the last bin.
        per_s = (bins - 1) / (to_s - from_s) if to_s > from_s else 0.0
        return _Bins(from_s, to_s, per_s, np.zeros(bins + 1, np.int32))


@compiled
def count_ends(bins: _Bins, ends_s: Floats) -> None:
    """Count what leaves its slot while calls come."""
    for end_s in ends_s:
        _count_end(bins, end_s)


@inner
def _count_end(bins: _Bins, end_s: float) -> None:
    if end_s < bins.to_s:
        bins.more[int(max(0.0, end_s - bins.from_s) * bins.per_s) + 1] -= 1


@compiled
def say_ends(model: Model, bins: _Bins, calls: Calls, ends_s: Floats) -> None:
    """When each call ends that finds a slot; those of a run are counted."""
    for k in range(len(ends_s)):
        at_s = calls.at_s[k]
        key = calls.key[k]
        record = recorded_as(model, group_of(model, device_of(key)), key)
        ends_s[k] = at_s + model.cloud_s[record]
        if at_s <= bins.to_s:
            bins.more[int((at_s - bins.from_s) * bins.per_s)] += 1
            _count_end(bins, ends_s[k])


@compiled
def has_room(bins: _Bins, slots: int) -> bool:
    """Whether so many slots are never too few, were nobody to end in the bin in which one comes."""
    taken = 0
    for k in range(len(bins.more)):
        taken += bins.more[k]
        if taken > slots:
            return False
    return True


@compiled
def look_up(cloud: Cloud, ends_s: Floats, jobs: Ints) -> int:
    """Write down the ends and the jobs of what is in slots; returns how many there are."""
    many = 0
    for replica in range(len(cloud.active)):
        for slot in range(cloud.active[replica]):
            ends_s[many], jobs[many] = cloud.end_s[replica, slot], cloud.end_job[replica, slot]
            many += 1
    return many


@compiled
def clear(model: Model, cloud: Cloud, until_s: float) -> None:
    """Empty all slots; replicas are paid until that time."""
    cloud.counts[USED] = 0
    from_s = cloud.times[COUNTED]
    count_use(model, cloud, until_s)
    for replica in range(len(cloud.active)):
        cloud.active[replica] = 0
        # Until it is used the last count is needed: see `keep_on`.
        cloud.moved_s[replica] = from_s


@compiled
def keep_on(
    model: Model, cloud: Cloud, ends_s: Floats, jobs: Ints, until_s: float, tally: Tally
) -> None:
    """Go on with what was in slots before."""
    from_s = cloud.moved_s[0]
    for k in range(len(ends_s)):
        job, end_s = jobs[k], ends_s[k]
        _use(model, cloud, from_s, min(end_s, until_s))
        if end_s < until_s:
            key, group, record = cloud.key[job], cloud.group[job], cloud.record[job]
            note_turn(model, cloud, end_s, end_s - cloud.began_s[job])
            _, down_s = delays_of(model, key, record, cloud.attempt[job])
            at_s = end_s + down_s + home_s(model, group, key, record, cloud.attempt[job])
            ended(model, tally, group, key, DEFERRED, cloud.came_s[job], at_s)
            cloud.free[cloud.counts[FREE]] = job
            cloud.counts[FREE] += 1
        else:
            _hold(model, cloud, job, end_s)


@compiled
def serve(
    model: Model, cloud: Cloud, calls: Calls, ends_s: Floats, until_s: float, tally: Tally
) -> None:
    """Serve calls that come before a time and find a slot each."""
    for k in range(len(ends_s)):
        at_s, end_s, key = calls.at_s[k], ends_s[k], calls.key[k]
        if at_s >= until_s:
            continue
        group = group_of(model, device_of(key))
        record = recorded_as(model, group, key)
        tally.sent[group, counted_in(model, tally, at_s)] += 1
        _use(model, cloud, at_s, min(end_s, until_s))
        if end_s < until_s:
            note_turn(model, cloud, end_s, end_s - at_s)
            _, down_s = delays_of(model, key, record, calls.attempt[k])
            home = home_s(model, group, key, record, calls.attempt[k])
            ended(model, tally, group, key, DEFERRED, calls.came_s[k], end_s + down_s + home)
        else:
            cloud.counts[FREE] -= 1
            job = cloud.free[cloud.counts[FREE]]
            cloud.came_s[job], cloud.first_s[job] = calls.came_s[k], calls.first_s[k]
            cloud.began_s[job] = at_s
            cloud.key[job], cloud.attempt[job] = key, calls.attempt[k]
            cloud.record[job], cloud.group[job] = record, group
            _hold(model, cloud, job, end_s)


@inner
def _hold(model: Model, cloud: Cloud, job: int, end_s: float) -> None:
    """Put a job that is under way into a slot: replicas in turn."""
    replica = cloud.counts[USED] % model.replicas
    push(
        cloud.end_s[replica],
        cloud.end_tie[replica],
        cloud.end_job[replica],
        cloud.active[replica],
        end_s,
        cloud.counts[STARTED],
        job,
    )
    cloud.active[replica] += 1
    cloud.counts[STARTED] += 1
    cloud.counts[USED] += 1


@inner
def _use(model: Model, cloud: Cloud, from_s: float, to_s: float) -> None:
    """Count a slot in use; nothing after the end."""
    at_s, end_s, windows = from_s, min(to_s, model.seconds), len(cloud.used_s)
    if at_s >= end_s:
        return
    window, last = window_of(model, at_s, windows), window_of(model, end_s, windows)
    while window < last:
        stop_s = (window + 1) * model.seconds / windows
        cloud.used_s[window] += max(0.0, stop_s - at_s)
        at_s = max(at_s, stop_s)
        window += 1
    cloud.used_s[last] += max(0.0, end_s - at_s)


@compiled
def settle(model: Model, cloud: Cloud) -> None:
    """Say of every replica what it has and what ends first."""
    for replica in range(model.replicas):
        active = cloud.active[replica]
        cloud.load[replica] = active
        cloud.due_s[replica] = cloud.end_s[replica, 0] if active > 0 else np.inf
        play(cloud.least, cloud.load, replica)
        play(cloud.soonest, cloud.due_s, replica)
