"""Computes each request once, however often it is sent; knows no engine, no gRPC."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from escalade.cloud.backends import Clock, Ticket
from escalade.cloud.errors import DeadlineError
from escalade.v1 import cascade_pb2 as pb

Compute = Callable[[Ticket], Coroutine[Any, Any, pb.GenerateResponse]]


@dataclass(slots=True)
class _Shared:
    """One computation and how many RPCs wait for it."""

    ticket: Ticket
    task: asyncio.Task[pb.GenerateResponse]
    waiting: int = 0


class Answers:
    """Shares running computations and keeps the last answers, by key.

    Failures are not kept: a retry after one computes again.

    Args:
        kept: how many answers to keep; the least recently asked goes first.
        clock: seconds, monotonic.
    """

    def __init__(self, kept: int, clock: Clock) -> None:
        self._limit = kept
        self._clock = clock
        self._running: dict[bytes, _Shared] = {}
        self._kept: OrderedDict[bytes, pb.GenerateResponse] = OrderedDict()

    async def once(
        self, key: bytes | None, deadline_s: float, compute: Compute
    ) -> pb.GenerateResponse:
        """The answer to `key`: kept, shared with whoever waits for it, or computed now.

        The computation lives while somebody waits for it, up to the latest of their
        deadlines; it is stopped when the last of them goes away.

        Args:
            key: what makes two requests the same; None shares nothing.
            deadline_s: the caller's own, on the clock.
            compute: makes the answer under a ticket; what it raises, every waiter gets.
        """
        while True:
            if key is not None and key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            shared = self._join(key, deadline_s, compute)
            shared.waiting += 1
            try:
                return await asyncio.shield(shared.task)
            except DeadlineError:
                # Another waiter's deadline, passed just before this one could extend it.
                if self._clock() >= deadline_s:
                    raise
            finally:
                shared.waiting -= 1
                if shared.waiting == 0:
                    shared.ticket.cancel()
                    shared.task.cancel()

    def _join(self, key: bytes | None, deadline_s: float, compute: Compute) -> _Shared:
        shared = self._running.get(key) if key is not None else None
        if shared is not None and shared.ticket.should_stop() is None:
            shared.ticket.extend(deadline_s)
            return shared
        ticket = Ticket(deadline_s, self._clock)
        shared = _Shared(ticket, asyncio.create_task(compute(ticket)))
        if key is not None:
            self._running[key] = shared
            shared.task.add_done_callback(lambda task: self._finish(key, task))
        return shared

    def _finish(self, key: bytes, task: asyncio.Task[pb.GenerateResponse]) -> None:
        shared = self._running.get(key)
        if shared is not None and shared.task is task:
            del self._running[key]
        if not task.cancelled() and task.exception() is None:
            self._kept[key] = task.result()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
