"""One engine, one thread, a bounded queue in front; knows no gRPC and no particular engine.

The event loop submits and awaits; the engine computes in the thread, one query or one small
batch of scores at a time, so that nothing it does blocks the loop. The thread takes its work
in the order it came, and of all streams of scores together one batch at a time is put into
that order: a query has at most one of them before it, however many are to come, and besides
it at most one that still runs for a client that has gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from escalade.cloud.backends.engine import Answer, Engine, EngineFactory, Query, ScoreQuery, Scores
from escalade.cloud.errors import DeadlineError, DrainingError, EngineDeadError, QueueFullError
from escalade.v1 import cascade_pb2 as pb

_LOG = logging.getLogger(__name__)

# Said to a refused client before any answer has been timed.
_FIRST_RETRY_S = 0.1

# One odd query must not take a server out of rotation; this many in a row are the engine.
_FAILURES_UNTIL_DEAD = 3

Clock = Callable[[], float]

T = TypeVar("T")


class Ticket:
    """The right of one request to be computed: until its deadline, or until cancelled.

    The event loop writes, the engine's thread reads; each write is one attribute.

    Args:
        deadline_s: on `clock`; infinite where the client set none.
        clock: seconds, monotonic.
    """

    def __init__(self, deadline_s: float, clock: Clock) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._cancelled = False

    def extend(self, deadline_s: float) -> None:
        """Keep the later of two deadlines."""
        self._deadline_s = max(self._deadline_s, deadline_s)

    def cancel(self) -> None:
        """Stop at the next token, or before the next batch of scores."""
        self._cancelled = True

    def should_stop(self) -> pb.StopReason | None:
        """Why to stop now, or None to go on."""
        if self._cancelled:
            return pb.STOP_REASON_CANCELLED
        if self._clock() >= self._deadline_s:
            return pb.STOP_REASON_DEADLINE
        return None


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """What an engine computed, and where its time went."""

    answer: T
    queue_s: float
    compute_s: float


class Worker:
    """Runs an engine in a thread of its own.

    Args:
        capacity: queries that may wait behind the one being computed, at least 1; and as
            many streams of scores.
        clock: seconds, monotonic.
    """

    def __init__(self, capacity: int, clock: Clock) -> None:
        self._capacity = capacity
        self._clock = clock
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._queries: set[Ticket] = set()
        self._batches: set[Ticket] = set()
        self._streams = 0
        self._batch_turn = asyncio.Lock()
        self._retry_after_s = _FIRST_RETRY_S
        self._stream_retry_after_s = _FIRST_RETRY_S
        self._failures = 0
        self._abandoned = False
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The loaded engine."""
        if self._engine is None:
            raise RuntimeError("the engine is not loaded yet; await load() first")
        return self._engine

    @property
    def dead(self) -> bool:
        """Whether the engine has failed several times in a row."""
        return self._failures >= _FAILURES_UNTIL_DEAD

    async def load(self, factory: EngineFactory) -> None:
        """Load the engine in its thread; what the factory raises passes through."""
        self._engine = await asyncio.get_running_loop().run_in_executor(self._executor, factory)

    def refuse_when_full(self) -> None:
        """Refuse a query that would find no place.

        Raises:
            QueueFullError: one query is being computed and `capacity` wait.
        """
        self._refuse(len(self._queries), "requests", self._retry_after_s)

    @contextmanager
    def score_place(self) -> Iterator[None]:
        """Hold the place of one stream of scores; such streams take no place from queries.

        Raises:
            QueueFullError: one stream has its turn and `capacity` wait.
        """
        self._refuse(self._streams, "streams of scores", self._stream_retry_after_s)
        self._streams += 1
        started_s = self._clock()
        try:
            yield
        finally:
            self._streams -= 1
        # Streams take turns: while one lasts, as many end as there are places.
        lasted_s = self._clock() - started_s
        self._stream_retry_after_s = max(lasted_s / (self._capacity + 1), 1e-3)

    async def run(self, query: Query, ticket: Ticket) -> Finished[Answer]:
        """Queue a query and wait for its answer.

        Cancelling the caller drops the query if it still waits; one being computed goes
        on until its ticket says otherwise.

        Raises:
            QueueFullError: no place.
            DeadlineError: the ticket's deadline passed, before or during the computation.
            DrainingError: the server has abandoned its work.
            EngineDeadError: the engine raised.
        """
        if self._abandoned:
            raise _draining()
        self.refuse_when_full()
        generate = partial(self.engine.generate, query, ticket.should_stop)
        finished = await self._submit(generate, ticket, self._queries)
        # A place is free again when the query at the head is done.
        self._retry_after_s = max(finished.compute_s, 1e-3)
        _raise_if_stopped(finished.answer.stop_reason)
        return finished

    async def score(
        self,
        queries: Sequence[ScoreQuery],
        top_k: int,
        ticket: Ticket,
        may_go_on: Callable[[], None],
    ) -> Finished[list[Scores]]:
        """Score one small batch, when the streams that asked before have had their turn.

        Args:
            queries: the batch.
            top_k: entries of each row.
            ticket: asked before the batch.
            may_go_on: called when the turn has come; what it raises passes through.

        Raises:
            DeadlineError: the ticket's deadline passed before the batch's turn came.
            DrainingError: the server has abandoned its work.
            EngineDeadError: the engine raised.
        """
        async with self._batch_turn:
            if self._abandoned:
                raise _draining()
            may_go_on()
            score = partial(self.engine.score, queries, top_k)
            return await self._submit(score, ticket, self._batches)

    def abandon(self) -> None:
        """Stop what is computed at its next token, drop what waits, take nothing more."""
        self._abandoned = True
        for ticket in [*self._queries, *self._batches]:
            ticket.cancel()

    def close(self) -> None:
        """Take no more work; the thread ends with what it is doing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _submit(
        self, work: Callable[[], T], ticket: Ticket, pending: set[Ticket]
    ) -> Finished[T]:
        job = self._executor.submit(self._compute, work, ticket, self._clock())
        pending.add(ticket)
        job.add_done_callback(lambda done: pending.discard(ticket))
        return await asyncio.wrap_future(job)

    def _refuse(self, taken: int, kind: str, retry_after_s: float) -> None:
        if taken > self._capacity:
            raise QueueFullError(
                f"queue: {self._capacity} {kind} wait already, which is its capacity",
                retry_after_s,
            )

    def _compute(self, work: Callable[[], T], ticket: Ticket, submitted_s: float) -> Finished[T]:
        started_s = self._clock()
        _raise_if_stopped(ticket.should_stop())
        try:
            answer = work()
        except Exception as error:
            self._failures += 1
            _LOG.exception("the engine failed (%d in a row)", self._failures)
            raise EngineDeadError(f"engine: failed with {type(error).__name__}") from error
        self._failures = 0
        return Finished(answer, started_s - submitted_s, self._clock() - started_s)


def _raise_if_stopped(reason: pb.StopReason | None) -> None:
    if reason == pb.STOP_REASON_DEADLINE:
        raise DeadlineError("deadline: passed before the answer was whole")
    if reason == pb.STOP_REASON_CANCELLED:
        raise _draining()


def _draining() -> DrainingError:
    return DrainingError("server: shutting down; ask another one")


def deadline_after(remaining_s: float | None, clock: Clock) -> float:
    """The moment on `clock` when `remaining_s` will have passed; infinite for None."""
    return math.inf if remaining_s is None else clock() + remaining_s
