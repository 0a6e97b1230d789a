"""One thread for one engine; knows no gRPC and no engine.

The event loop submits and awaits; the thread takes its work in the order it came, so that
nothing an engine does blocks the loop.
"""

from __future__ import annotations

import logging
from asyncio import Queue
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Generic, NamedTuple, TypeVar

from escalade.cloud.backends.embedded.loop_calls import LoopCalls
from escalade.cloud.backends.ticket import Clock, Ticket
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
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="engine")
        self._failures = 0

    @property
    def dead(self) -> bool:
        """Whether work has failed several times in a row."""
        return self._failures >= _FAILURES_UNTIL_DEAD

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
        self._thread.start()
        self._jobs.put(job)
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
    ) -> None:
        """Queue work.

        Args:
            work: computes something.
            ticket: asked when its turn has come; what nobody waits for any more is not begun.
            deliver: called in the loop with what came of it, or with what `Ticket.check` raised,
                or with an `EngineDeadError` where the work did.
        """
        self._jobs.put(partial(self._compute, work, ticket, deliver, self._clock()))

    async def run(self, work: Callable[[], T], ticket: Ticket) -> Finished[T]:
        """Queue work and wait for what it gives.

        Raises:
            RequestError: see `submit`.
        """
        outcome: Queue[Finished[T] | RequestError] = Queue()
        self.submit(work, ticket, outcome.put_nowait)
        return finished_of(await outcome.get())

    def close(self) -> None:
        """Take no more work; the thread ends once its tickets do."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

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
