"""Runs a fleet, a stretch of time after the other, on several threads; knows no single event.

In each stretch blocks of devices run side by side; what they send up is put in order, and what
comes to gateways, and then to the cloud, before the stretch's end is served, for nothing that is
still to be sent can come before; where gateways refuse both are served at once. Memory holds one
stretch and a few numbers of each device. Blocks do not depend on how many threads there are, and
neither does any number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.engine.calls import Calls, copied, empty_calls, joined, settle_ties
from escalade.simulator.fleet.engine.devices import new_devices, run_devices
from escalade.simulator.fleet.engine.model import Ints, Model, group_of
from escalade.simulator.fleet.engine.outcome import Kept, Outcome
from escalade.simulator.fleet.engine.servers import (
    Bounds,
    as_many,
    at_gateways,
    count_use,
    in_cloud,
    new_bounds,
    new_cloud,
    new_serving,
    run_cloud,
    run_gateways,
    run_together,
    run_unqueued,
    say_gateways,
    with_jobs,
    with_room,
)
from escalade.simulator.fleet.engine.stretches import blocks_of, ends_s
from escalade.simulator.fleet.engine.tally import Tally, empty_tally, merge

#: Called with how many stretches of time are done, and of how many.
Progress = Callable[[int, int], None]

#: Queries of a stretch, about: enough that to look at ten million devices costs little beside them;
#: 170 MB if all of them go up.
STRETCH = 1 << 22
#: Calls that a block has room for; it goes on where that was too little.
_ROOM = 1 << 16
#: And for each of its devices; a fit has a block for each query, and making room took its time.
_ROOM_OF_A_DEVICE = 1 << 10
#: Calls that are on their way, wait or are computed at once: a gigabyte.
MOST_CALLS = 10_000_000

#: Share of the devices that do not have more queries than `Outcome.busiest`.
_MOST = 0.99


def simulate(
    model: Model,
    *,
    windows: int,
    threads: int,
    keep: bool = False,
    stretch: int = STRETCH,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Run a fleet to its end.

    Args:
        model: the fleet.
        windows: bins of time that counts are told in, at least 1.
        threads: that run devices, at least 1; the same bytes on any number.
        keep: whether to keep every single query.
        stretch: queries that come in one stretch of time, about.
        progress: called after each stretch.

    Raises:
        FleetError: calls pile up beyond what memory has room for.
    """
    ends = ends_s(model, stretch)
    run = _Run(model, windows, keep)
    with ThreadPoolExecutor(threads) as pool:
        coming = run.begin(pool, ends[0])
        for k, until_s in enumerate(ends):
            sent = [one.result() for one in coming]
            if k + 1 < len(ends):  # the devices are ahead by a stretch while the cloud serves
                coming = run.begin(pool, ends[k + 1])
            run.serve(*run.counted(sent), until_s)
            progress(k + 1, len(ends))
    return run.finish()


class _Sent(NamedTuple):
    """What a block has sent up, whether to gateways, and what has ended in it."""

    calls: list[Calls]
    to_gateways: bool
    tally: Tally
    kept: list[Ints]


class _Run:
    """One run between its stretches."""

    def __init__(self, model: Model, windows: int, keep: bool) -> None:
        self._model, self._windows, self._keep = model, windows, keep
        self._tally = empty_tally(len(model.priority), windows)
        self._kept: list[Ints] = []
        self._devices = new_devices(model)
        self._cloud = new_cloud(model, windows)
        self._carried = self._to_gateways = empty_calls(0)
        self._serving = new_serving(model)
        #: None where no gateway refuses: then nothing comes back to them from the cloud.
        self._bounds = new_bounds(self._serving) if model.gateways.is_bounded else None
        self._blocks = list(blocks_of(model))

    def begin(self, pool: ThreadPoolExecutor, until_s: float) -> list[Future[_Sent]]:
        """Let the devices run."""
        return [pool.submit(self._run_block, *block, until_s) for block in self._blocks]

    def counted(self, sent: list[_Sent]) -> tuple[list[Calls], list[Calls]]:
        """What all blocks have sent to the cloud, and to gateways; what has ended is counted."""
        for one, (first, _) in zip(sent, self._blocks, strict=True):
            merge(self._tally, one.tally, group_of(self._model, first))
            self._kept += one.kept
        near = [calls for one in sent if one.to_gateways for calls in one.calls]
        return [calls for one in sent if not one.to_gateways for calls in one.calls], near

    def serve(self, sent: list[Calls], near: list[Calls], until_s: float) -> None:
        """Let the gateways run, and the cloud.

        Args:
            sent: calls to the cloud,
            near: and to gateways, in any order.
            until_s: those that come before are served.
        """
        self._check_room([*sent, *near], until_s)
        if self._bounds is not None:
            self._serve_together(self._bounds, sent, near, until_s)
            return
        calls = [self._carried, *sent, *self._through_gateways(near, until_s)]
        self._cloud = with_room(self._cloud, self._model.replicas * self._model.slots)
        tally = self._tally_for(sum(len(one.at_s) for one in calls) + in_cloud(self._cloud))
        if run_unqueued(self._model, self._cloud, calls, until_s, tally):
            self._carried = joined([copied(one, one.at_s >= until_s) for one in calls])
        else:
            self._queue(joined(calls), until_s, tally)
        self._keep_of(tally)

    def _serve_together(
        self, bounds: Bounds, sent: list[Calls], near: list[Calls], until_s: float
    ) -> None:
        """Let the gateways and the cloud run, event by event."""
        to_gateways, self._to_gateways = _due(joined([self._to_gateways, *near]), until_s)
        to_cloud, self._carried = _due(joined([self._carried, *sent]), until_s)
        orders = [np.lexsort((one.key, one.at_s)) for one in (to_gateways, to_cloud)]
        self._serving = with_jobs(self._serving, len(orders[0]))
        self._bounds = bounds = as_many(bounds, self._serving)
        # Whatever is at gateways may come to the cloud.
        there = at_gateways(self._serving) + len(orders[0])
        self._cloud = with_room(self._cloud, there + len(orders[1]))
        tally = self._tally_for(there + len(orders[1]) + in_cloud(self._cloud))
        run_together(
            self._model,
            self._serving,
            bounds,
            self._cloud,
            to_gateways,
            orders[0],
            to_cloud,
            orders[1],
            until_s,
            tally,
        )
        count_use(self._model, self._cloud, until_s)
        self._keep_of(tally)

    def _through_gateways(self, near: list[Calls], until_s: float) -> list[Calls]:
        """What gateways send on to the cloud."""
        if not len(self._serving.active):
            return []
        coming, self._to_gateways = _due(joined([self._to_gateways, *near]), until_s)
        whose = np.empty(len(coming.at_s), np.int64)
        say_gateways(self._model, coming, whose)
        order = np.lexsort((coming.key, coming.at_s, whose))
        self._serving = with_jobs(self._serving, len(order))
        many = len(order) + at_gateways(self._serving)
        out, tally = empty_calls(many), self._tally_for(many)
        size = run_gateways(self._model, self._serving, coming, whose, order, until_s, tally, out)
        self._keep_of(tally)
        return [copied(out, slice(size))]

    def _tally_for(self, many: int) -> Tally:
        """The run's, with room for so many that end now where single queries are kept."""
        if not self._keep:
            return self._tally
        room = empty_tally(0, 0, many)
        return self._tally._replace(kept=room.kept, size=room.size)

    def _keep_of(self, tally: Tally) -> None:
        if self._keep:
            self._kept.append(tally.kept[:, : tally.size[0]])

    def _queue(self, calls: Calls, until_s: float, tally: Tally) -> None:
        due = calls.at_s < until_s
        order = np.flatnonzero(due)
        order = order[np.argsort(calls.at_s[order])]
        settle_ties(calls, order)
        self._cloud = with_room(self._cloud, len(order))
        run_cloud(self._model, self._cloud, calls, order, until_s, tally)
        count_use(self._model, self._cloud, until_s)
        self._carried = copied(calls, ~due)

    def _check_room(self, sent: list[Calls], until_s: float) -> None:
        """Refuse what would not fit into memory, before it is made."""
        calls = sum(len(one.at_s) for one in (self._carried, self._to_gateways, *sent))
        many = calls + in_cloud(self._cloud) + at_gateways(self._serving)
        if many > MOST_CALLS:
            raise FleetError(
                f"calls on their way, waiting or computed must be at most {MOST_CALLS:,} at once;"
                f" got {many:,} by {until_s:.4g} s: give more replicas, a shorter queue or a"
                " shorter deadline_s"
            )

    def finish(self) -> Outcome:
        """Let what is on its way, at gateways or in the cloud come to its end."""
        self.serve([], [], math.inf)
        kept = np.concatenate(self._kept, axis=1) if self._keep else None
        cloud = self._cloud
        return Outcome(
            tally=self._tally,
            used_s=cloud.used_s,
            waited_s=cloud.waited_s,
            paid_s=cloud.paid_s,
            gateways_s=self._serving.used_s,
            busiest=self._busiest(),
            kept=None if kept is None else Kept.of(kept),
        )

    def _busiest(self) -> Ints:
        counts = np.split(self._devices.queries, self._model.first_device[1:-1])
        return np.array([_least_of_most(np.bincount(one)) for one in counts])

    def _run_block(self, first: int, last: int, until_s: float) -> _Sent:
        room = min(_ROOM, _ROOM_OF_A_DEVICE * (last - first))
        tally = empty_tally(1, self._windows, room if self._keep else 0)
        group = group_of(self._model, first)
        sent = _Sent([], bool(self._model.gateways.kind[group] >= 0), tally, [])
        while True:
            out = empty_calls(room)
            first, size = run_devices(self._model, self._devices, first, last, until_s, tally, out)
            sent.calls.append(copied(out, slice(size)))
            if self._keep:
                sent.kept.append(tally.kept[:, : tally.size[0]].copy())
                tally.size[0] = 0
            if first == last:
                return sent


def _least_of_most(devices: Ints) -> int:
    """How many queries 99 of 100 devices have at most, where so many have 0, 1, ... of them."""
    return int(np.searchsorted(np.cumsum(devices), _MOST * devices.sum()))


def _due(calls: Calls, until_s: float) -> tuple[Calls, Calls]:
    """Those that come before a time, and the others."""
    due = calls.at_s < until_s
    return copied(calls, due), copied(calls, ~due)
