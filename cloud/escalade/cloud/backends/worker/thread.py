"""One thread for one engine; knows no gRPC and no engine.

The event loop submits and awaits; clients take turns in the thread, so that nothing an engine does
blocks the loop, and nobody's work waits for all of another's.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Queue
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, NamedTuple, TypeVar

from escalade.cloud.backends.fair_order import FairOrder
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker.loop_calls import LoopCalls
from escalade.cloud.errors import EngineDeadError, RequestError

_LOG = logging.getLogger(__name__)

# One odd query must not take a server out of rotation; this many in a row are the engine.
_FAILURES_UNTIL_DEAD = 3

T = TypeVar("T")


class Finished(NamedTuple, Generic[T]):
    """What the thread computed, and where its time went."""

    value: T
    queue_s: float
    compute_s: float


#: Work as it waits.
Job = Callable[[], None]


class Worker:
    """Runs work in a thread of its own.

    `ThreadPoolExecutor` would do, but that its thread still has a future to settle when the loop
    already has the result: they fight for the interpreter, for 10 us of a query's 110.

    Args:
        clock: seconds, monotonic.
    """

    _calls: LoopCalls

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._waiting: FairOrder[Job] = FairOrder()
        # Each with how many others must have been begun before it.
        self._aside: deque[tuple[int, Job]] = deque()
        self._begun = 0
        # True wakes the thread for a job, False for the end. This queue is C; a condition of
        # `threading` is 10 us slower.
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._failures = 0

    @property
    def dead(self) -> bool:
        """Whether work has failed several times in a row."""
        return self._failures >= _FAILURES_UNTIL_DEAD

    @property
    def waiting(self) -> int:
        """Work that has not been begun; asked from any thread."""
        return len(self._waiting) + len(self._aside)

    async def load(self, make: Callable[[], T]) -> T:
        """Start the thread and make an engine in it; what `make` raises passes through."""
        made: Queue[T | Exception] = Queue()

        def job() -> None:
            try:
                value: T | Exception = make()
            except Exception as error:
                value = error
            self.in_loop(partial(made.put_nowait, value))

        self._calls = LoopCalls()
        Thread(target=self._run, args=(job,), name="engine").start()
        outcome = await made.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def in_loop(self, call: Callable[[], None]) -> None:
        """Have something called in the loop, in order; from the thread."""
        self._calls.add(call)

    def submit(
        self,
        work: Callable[[], T],
        ticket: Ticket,
        deliver: Callable[[Finished[T] | RequestError], None],
        *,
        aside: bool = False,
    ) -> Job:
        """Queue work; gives what `withdraw` takes.

        Args:
            work: computes something.
            ticket: asked when its turn has come; what nobody waits for any more is not begun. Its
                claim says whose turn it is.
            deliver: called in the loop with what came of it, or with what `Ticket.check` raised,
                or with an `EngineDeadError` where the work did.
            aside: no client's turn; it is begun after as many others as wait now.
        """
        job = partial(self._compute, work, ticket, deliver, self._clock())
        with self._lock:
            if aside:
                self._aside.append((self._begun + len(self._waiting), job))
            else:
                self._waiting.push(ticket.claim, job)
        self._wake.put(True)
        return job

    def withdraw(self, job: Job, ticket: Ticket) -> None:
        """Forget work that has not been begun; nothing of it is delivered."""
        with self._lock:
            self._waiting.discard(ticket.claim, job)
            self._aside = deque(one for one in self._aside if one[1] is not job)

    async def run(
        self, work: Callable[[], T], ticket: Ticket, *, aside: bool = False
    ) -> Finished[T]:
        """Queue work and wait for what it gives.

        Raises:
            RequestError: see `submit`.
        """
        outcome: Queue[Finished[T] | RequestError] = Queue()
        job = self.submit(work, ticket, outcome.put_nowait, aside=aside)
        try:
            return finished_of(await outcome.get())
        except asyncio.CancelledError:
            self.withdraw(job, ticket)
            raise

    def close(self) -> None:
        """Take no more work; the thread ends once its tickets do."""
        self._wake.put(False)

    def _run(self, load: Job) -> None:
        load()
        while self._wake.get():
            job = self._next()
            if job is not None:
                job()

    def _next(self) -> Job | None:
        """Whose turn it is; None where the work was withdrawn."""
        with self._lock:
            if self._aside and (self._aside[0][0] <= self._begun or not self._waiting):
                return self._aside.popleft()[1]
            if not self._waiting:
                return None
            self._begun += 1
            return self._waiting.pop()

    def _compute(
        self,
        work: Callable[[], T],
        ticket: Ticket,
        deliver: Callable[[Finished[T] | RequestError], None],
        submitted_s: float,
    ) -> None:
        started_s = self._clock()
        outcome: Finished[T] | RequestError
        try:
            ticket.check()
            value = work()
        except RequestError as error:
            outcome = error
        except Exception as error:
            self._failures += 1
            _LOG.exception("the engine failed (%d in a row)", self._failures)
            outcome = EngineDeadError(f"engine: failed with {type(error).__name__}")
        else:
            self._failures = 0
            outcome = Finished(value, started_s - submitted_s, self._clock() - started_s)
        self.in_loop(partial(deliver, outcome))


def finished_of(outcome: Finished[T] | RequestError) -> Finished[T]:
    """What came of work.

    Raises:
        RequestError: what it failed with.
    """
    if isinstance(outcome, RequestError):
        raise outcome
    return outcome
