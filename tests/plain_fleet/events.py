"""A plain heap of a fleet's events, one after the other; knows no stretch and no thread."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np

from escalade.simulator.fleet.engine.devices import next_arrival
from escalade.simulator.fleet.engine.model.draws import record_of
from escalade.simulator.fleet.engine.model.links import (
    PAST,
    delays_of,
    dialling_of,
    home_s,
    is_out,
    leaving,
    leaving_s,
    next_attempt,
    refused_s,
    to_cloud,
)
from escalade.simulator.fleet.engine.model.model import Model, gateway_of, group_of, key_of
from escalade.simulator.fleet.engine.outcome import Kept
from escalade.simulator.fleet.engine.tally import ANSWERED, AT_GATEWAY, DEFERRED, DEGRADED
from plain_fleet.entities import Connection, Device, Query, Server
from plain_fleet.scaling import Scaling

# What happens first at one time: devices know nobody, and a call comes to the cloud last.
_COMES, _DONE, _ENDS, _ANSWERED, _STARTED, _LOOK, _ARRIVES_NEAR, _ARRIVES = range(8)


@dataclass(frozen=True)
class Plain(Kept):
    """Single queries, as the fast engine keeps them.

    Attributes:
        turned: `(group, seconds)` of every attempt for which there was no place at a gateway.
    """

    turned: list[tuple[int, float]]


def simulate_plainly(model: Model) -> Plain:
    """Run a fleet to its end; arguments as `simulate`."""
    return _Events(model).run()


class _Events:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._heap: list[tuple[float, int, int, int, object]] = []
        self._serial = itertools.count()
        self._started = itertools.count()
        self._devices = [
            Device(group_of(model, device)) for device in range(int(model.first_device[-1]))
        ]
        self._replicas = [
            Server(k, model.slots, model.slowdown) for k in range(model.most_replicas)
        ]
        for replica in self._replicas[: model.replicas]:
            replica.is_taking = True
        near = model.gateways
        sizes = np.diff(near.first).tolist()
        kinds = [kind for kind, many in enumerate(sizes) for _ in range(many)]
        self._gateways = [
            Server(
                model.most_replicas + k,
                int(near.slots[kind]),
                float(near.slowdown[kind]),
                True,
                kind=kind,
            )
            for k, kind in enumerate(kinds)
        ]
        self._scaling = Scaling(model, self._replicas)
        self._ended_s, self._retry_s = -np.inf, 0.1  # of a query in the cloud, and what it tells
        self._waiting: list[Query] = []
        self._due = 0  # queries that are to go to the cloud, and have not ended
        self._ended: list[tuple[int, int, np.int64]] = []
        self._turned: list[tuple[int, float]] = []

    def run(self) -> Plain:
        for device in range(len(self._devices)):
            self._plan_arrival(device)
        if self._model.least_replicas < self._model.most_replicas:
            self._plan(self._model.scale_every_s, _LOOK, 0, None)
        while self._heap:
            at_s, kind, number, _, what = heapq.heappop(self._heap)
            if kind == _COMES:
                self._come(number, at_s)
            elif kind == _DONE:
                self._done(number, at_s)
            elif kind in {_ARRIVES_NEAR, _ARRIVES} and isinstance(what, Query):
                self._arrive(what, at_s)
            elif kind == _ANSWERED and isinstance(what, Query):
                self._give_place_back(what, at_s)
            elif kind == _ENDS and what == self._server(number).planned:
                self._end(self._server(number), at_s)
            elif kind == _STARTED:
                self._scaling.started(self._replicas[number])
                self._fill(self._replicas[number], at_s)
            elif kind == _LOOK and (at_s < self._model.seconds or self._due):
                self._plan(at_s + self._model.scale_every_s, _LOOK, 0, None)
                in_work = sum(len(one.queries) for one in self._replicas) + len(self._waiting)
                for one in self._scaling.look(in_work, at_s):
                    self._plan(at_s + self._model.startup_s, _STARTED, one.number, None)
        kept = Kept.of(np.array(self._ended, dtype=np.int64).reshape(-1, 3).T)
        return Plain(kept.key, kept.outcome, kept.latency_s, self._turned)

    def _server(self, number: int) -> Server:
        replicas = len(self._replicas)
        return self._replicas[number] if number < replicas else self._gateways[number - replicas]

    def _plan(self, at_s: float, kind: int, number: int, what: object) -> None:
        heapq.heappush(self._heap, (at_s, kind, number, next(self._serial), what))

    # The devices.

    def _plan_arrival(self, number: int) -> None:
        device = self._devices[number]
        at_s, device.expected = next_arrival(
            self._model, device.group, number, device.queries, device.expected
        )
        if at_s < self._model.seconds:
            self._plan(at_s, _COMES, number, None)

    def _come(self, number: int, now_s: float) -> None:
        model, device = self._model, self._devices[number]
        first, end = (int(one) for one in model.first_record[device.group : device.group + 2])
        record = first + record_of(model.seed, number, device.queries, end - first)
        device.queue.append(
            Query(key_of(number, device.queries), device, device.group, record, now_s)
        )
        device.queries += 1
        self._due += bool(model.defers[record])
        self._plan_arrival(number)
        if not device.is_busy:
            self._begin(number, now_s)

    def _begin(self, number: int, now_s: float) -> None:
        device = self._devices[number]
        device.is_busy = bool(device.queue)
        if device.queue:
            self._plan(now_s + self._model.device_s[device.queue[0].record], _DONE, number, None)

    def _done(self, number: int, now_s: float) -> None:
        query = self._devices[number].queue.popleft()
        if not self._model.defers[query.record]:
            self._finish(query, ANSWERED, now_s)
        else:
            if self._model.gateways.kind[query.group] >= 0:
                query.gateway = self._gateways[gateway_of(self._model, query.group, number)]
            self._leave(query, now_s)
        self._begin(number, now_s)

    # The link.

    def _link(self, query: Query) -> int:
        if query.gateway is None:
            return to_cloud(self._model, query.group, query.attempt)
        return leaving(self._model, query.group)

    def _leave(self, query: Query, now_s: float) -> None:
        query.first_s, query.attempt = now_s, PAST if query.is_past else 0
        query.has_left = False
        if is_out(self._model, self._link(query), now_s):
            self._fail(query, now_s)
        else:
            self._send(query, now_s)

    def _send(self, query: Query, now_s: float) -> None:
        up_s, _ = delays_of(self._model, query.key, query.record, query.attempt)
        if query.gateway is not None:
            up_s = leaving_s(self._model, query.group, query.key, query.record, query.attempt)
        if not query.has_left:
            now_s, up_s = self._dial(query, now_s, up_s)
        query.has_left = True
        arrives = _ARRIVES if query.gateway is None else _ARRIVES_NEAR
        self._plan(now_s + up_s, arrives, query.key, query)

    def _dial(self, query: Query, now_s: float, up_s: float) -> tuple[float, float]:
        """When a call is sent over a connection that may have to be dialled, and its way up."""
        model, near = self._model, self._model.gateways
        connection: Connection | None = None
        if query.is_past:
            tables, idle_s = (near.past.open_s, near.past.first_up_s), model.idle_s[query.group]
            if model.dials[query.group]:
                connection = query.device.past
        elif query.place is not None:
            kind = query.place.kind
            tables, idle_s = (near.open_s, near.first_up_s), near.idle_s[kind]
            if near.dials[kind]:
                connection = query.place.connection
        else:
            tables, idle_s = (model.open_s, model.first_up_s), model.idle_s[query.group]
            if model.dials[query.group]:
                connection = query.device.connection
        if connection is None:
            return now_s, up_s
        is_new = now_s - connection.used_s > idle_s
        if is_new or now_s < connection.used_s < connection.open_s:
            open_s, up_s = dialling_of(*tables, model.seed, query.key, query.record, query.attempt)
            connection.open_s = now_s + open_s
        connection.used_s = max(connection.used_s, now_s)
        return max(now_s, connection.open_s), up_s

    def _fail(self, query: Query, now_s: float, least_s: float = 0.0) -> None:
        link = self._link(query)
        again, at_s, query.attempt = next_attempt(
            self._model, link, query.key, now_s, query.first_s, query.attempt, least_s
        )
        if again:
            self._send(query, at_s)
        elif query.gateway is not None and self._model.gateways.past.allowed[query.group]:
            query.gateway, query.is_past = None, True
            query.has_left = False
            self._plan(at_s, _ARRIVES_NEAR, query.key, query)
        else:
            self._finish(query, DEGRADED, at_s + self._home_s(query))
            self._plan_answered(query, at_s)

    def _plan_answered(self, query: Query, at_s: float) -> None:
        """Its gateway knows at a time what it answers."""
        if query.place is not None:
            self._plan(at_s, _ANSWERED, query.key, query)

    def _give_place_back(self, query: Query, now_s: float) -> None:
        gateway = query.place
        assert gateway is not None
        gateway.held -= 1
        places = int(self._model.gateways.places[gateway.kind])
        gateway.retry_s = max((now_s - query.since_s) / places, 1e-3)

    def _home_s(self, query: Query) -> float:
        """The way from the gateway that a query has been through."""
        if query.gateway is not None:
            return 0.0
        return home_s(self._model, query.group, query.key, query.record, query.attempt)

    def _finish(self, query: Query, outcome: int, now_s: float) -> None:
        self._due -= bool(self._model.defers[query.record])
        latency_s = np.float64(now_s - query.came_s)
        self._ended.append((query.key, outcome, latency_s.view(np.int64)))

    # Gateways and the cloud.

    def _arrive(self, query: Query, now_s: float) -> None:
        gateway = query.gateway
        if query.is_past and not query.has_left:
            self._leave(query, now_s)  # only now, so that devices dial in turn
            return
        if gateway is not None:
            if gateway.held >= self._model.gateways.places[gateway.kind]:
                self._turned.append((query.group, now_s))
                heard_s = now_s + refused_s(self._model, query.key, query.record, query.attempt)
                self._fail(query, heard_s, gateway.retry_s)
                return
            gateway.held += 1
            query.place, query.since_s = gateway, now_s
            if len(gateway.queries) < gateway.slots:
                self._put(gateway, query, now_s)
            else:
                gateway.waiting.append(query)
            return
        taking = [one for one in self._replicas if one.is_taking]
        replica = min(taking, key=lambda one: (len(one.queries), one.number))
        if len(replica.queries) < self._model.slots:
            self._put(replica, query, now_s)
        elif len(self._waiting) < self._model.queue:
            self._waiting.append(query)
        else:
            _, down_s = delays_of(self._model, query.key, query.record, query.attempt)
            self._fail(query, now_s + down_s, self._retry_s)

    def _stretched(self, server: Server) -> float:
        return 1.0 + server.slowdown * (len(server.queries) - 1)

    def _put(self, server: Server, query: Query, now_s: float) -> None:
        if server.slowdown == 0:
            server.done_s = now_s  # the clock, so that a query ends when its time is over
        elif server.queries:
            server.done_s += (now_s - server.moved_s) / self._stretched(server)
        else:
            server.done_s = 0.0
        server.moved_s = now_s
        near = self._model.gateways
        takes_s = near.answer_s if server.is_gateway else self._model.cloud_s
        query.began_s = now_s
        end_s = server.done_s + takes_s[query.record]
        server.queries.append((end_s, next(self._started), query))
        self._plan_end(server, now_s)

    def _note_turn(self, query: Query, now_s: float) -> None:
        """What those that the cloud refuses are told: of several ends at one time the longest."""
        places = self._model.slots * sum(one.is_taking for one in self._replicas)
        turn_s = max((now_s - query.began_s) / places, 1e-3)
        if now_s == self._ended_s:
            turn_s = max(turn_s, self._retry_s)
        self._ended_s, self._retry_s = now_s, turn_s

    def _plan_end(self, server: Server, now_s: float) -> None:
        server.planned = next(self._serial)
        if server.queries:
            left_s = max(0.0, min(server.queries)[0] - server.done_s)
            at_s = now_s + left_s * self._stretched(server)
            if server.slowdown == 0:
                at_s = min(server.queries)[0]
            self._plan(at_s, _ENDS, server.number, server.planned)

    def _end(self, server: Server, now_s: float) -> None:
        first = min(server.queries)
        server.done_s, server.moved_s = first[0], now_s
        server.queries.remove(first)
        query = first[2]
        if not server.is_gateway:
            self._note_turn(query, now_s)
        if server.is_gateway:
            query.gateway = None
            if self._model.gateways.defers[query.record]:
                self._leave(query, now_s)
            else:
                self._finish(query, AT_GATEWAY, now_s + self._home_s(query))
                self._give_place_back(query, now_s)
            self._plan_end(server, now_s)
            if server.waiting:
                self._put(server, server.waiting.popleft(), now_s)
            return
        _, down_s = delays_of(self._model, query.key, query.record, query.attempt)
        self._finish(query, DEFERRED, now_s + down_s + self._home_s(query))
        self._plan_answered(query, now_s + down_s)
        self._plan_end(server, now_s)
        self._fill(server, now_s)

    def _fill(self, replica: Server, now_s: float) -> None:
        priority = self._model.priority
        while replica.is_taking and self._waiting and len(replica.queries) < self._model.slots:
            query = min(self._waiting, key=lambda one: int(priority[one.group]))
            self._waiting.remove(query)
            self._put(replica, query, now_s)
