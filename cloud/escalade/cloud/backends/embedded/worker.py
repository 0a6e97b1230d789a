"""One thread for one engine, and places in the queue before it; knows no gRPC and no engine.

The event loop submits and awaits; the thread takes its work in the order it came, so that
nothing an engine does blocks the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.errors import EngineDeadError, QueueFullError

_LOG = logging.getLogger(__name__)

# Said to a refused client before any answer has been timed.
_FIRST_RETRY_S = 0.1
_LEAST_RETRY_S = 1e-3

# One odd query must not take a server out of rotation; this many in a row are the engine.
_FAILURES_UNTIL_DEAD = 3

T = TypeVar("T")


class Places:
    """The bounded queue: one may have its turn, and so many may wait.

    Args:
        capacity: how many may wait, at least 1.
        kind: what they are, for messages.
    """

    def __init__(self, capacity: int, kind: str) -> None:
        self._capacity = capacity
        self._kind = kind
        self._taken = 0
        self._retry_after_s = _FIRST_RETRY_S

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            QueueFullError: all are taken.
        """
        if self._taken > self._capacity:
            raise QueueFullError(
                f"queue: {self._capacity} {self._kind} wait already, which is its capacity",
                self._retry_after_s,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def note_free_after(self, seconds: float) -> None:
        """Say how long it lately took until a place became free."""
        self._retry_after_s = max(seconds, _LEAST_RETRY_S)


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """What the thread computed, and where its time went."""

    value: T
    queue_s: float
    compute_s: float


class Worker:
    """Runs work in a thread of its own.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._failures = 0

    @property
    def dead(self) -> bool:
        """Whether work has failed several times in a row."""
        return self._failures >= _FAILURES_UNTIL_DEAD

    async def load(self, make: Callable[[], T]) -> T:
        """Make an engine in its thread; what `make` raises passes through."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, make)

    async def run(self, work: Callable[[], T], ticket: Ticket) -> Finished[T]:
        """Queue work and wait for what it gives.

        Cancelling the caller drops the work if it still waits; what has begun goes on until its
        ticket says otherwise.

        Raises:
            DeadlineError: the ticket's deadline passed before the work began.
            DrainingError: the ticket was cancelled before.
            EngineDeadError: the work raised.
        """
        job = self._executor.submit(self._compute, work, ticket, self._clock())
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Take no more work; the thread ends with what it is doing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _compute(self, work: Callable[[], T], ticket: Ticket, submitted_s: float) -> Finished[T]:
        started_s = self._clock()
        ticket.check()
        try:
            value = work()
        except Exception as error:
            self._failures += 1
            _LOG.exception("the engine failed (%d in a row)", self._failures)
            raise EngineDeadError(f"engine: failed with {type(error).__name__}") from error
        self._failures = 0
        return Finished(value, started_s - submitted_s, self._clock() - started_s)
