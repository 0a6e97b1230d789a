"""The front end of processes that compute, behind `Backend`; knows no process.

Clients, places, deadlines and turns are here. What a process was computing when it ended another
computes again, and a reader of it notices nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec

from escalade.cloud.backends.backend import Backend, BackendInfo, Gauge, queue_length
from escalade.cloud.backends.batches import scored_ahead
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import (
    Delta,
    Query,
    ScoredBatch,
    ScoreQuery,
    Verdict,
)
from escalade.cloud.backends.replicas.replicas import ReplicaEndedError, Replicas
from escalade.cloud.backends.replicas.resumed import Given
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker import FairTurn
from escalade.cloud.errors import EngineDeadError

# Queries that a process has and does not compute yet: the next is there when one ends.
_AHEAD = 1
_DEATHS_UNTIL_DEAD = 3

T = TypeVar("T")


class ReplicatedBackend(Backend):
    """Answers with other processes.

    Args:
        replicas: not started.
        queue_capacity: queries that may wait beside those that are computed, at least 1.
        clock: seconds, monotonic.
    """

    def __init__(self, replicas: Replicas, *, queue_capacity: int, clock: Clock) -> None:
        self._replicas = replicas
        self._capacity, self._clock = queue_capacity, clock
        self._streams = Places(queue_capacity, "streams of scores")
        self._batch_turn = FairTurn()
        self._info: BackendInfo | None = None
        self._asked = self._deaths = 0

    async def load(self) -> None:
        """See `Backend`."""
        info = await self._replicas.start()
        at_once = self._replicas.at_once
        self._queries = Places(self._capacity + at_once - 1, "requests")
        self._turns = FairTurn(at_once + _AHEAD)
        self._info = replace(info, queue_capacity=self._capacity)

    def close(self) -> None:
        """See `Backend`."""
        self._replicas.close()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        if self._info is None:
            raise RuntimeError("no process is ready yet; await load() first")
        return self._info

    def health(self) -> bool:
        """Whether there is one to be asked, and the last few queries did not all find it dead."""
        return self._deaths < _DEATHS_UNTIL_DEAD and self._replicas.health()

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        computed = min(self._asked, self._replicas.at_once)
        return (queue_length(len(self._queries) - computed), *self._replicas.gauges())

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        self._queries.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        with self._queries.take(ticket):
            async with self._turn(ticket) as waited_s:
                ticket.prompt_tokens = len(query.prompt_ids)
                async for delta in self._begun_again(query, ticket):
                    answer = delta.answer
                    if answer is not None:
                        queue_s = answer.queue_s + waited_s
                        answer = msgspec.structs.replace(answer, queue_s=queue_s)
                        delta = delta._replace(answer=answer)  # noqa: PLW2901
                    yield delta

    async def _begun_again(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """The deltas of one process, or of several, each of which ended but the last."""
        given = Given()
        for left in reversed(range(self._replicas.tries)):
            given.again()
            try:
                async with aclosing(self._replicas.generate(query, ticket)) as deltas:
                    async for delta in deltas:
                        if (new := given.new_in(delta)) is not None:
                            yield new
            except ReplicaEndedError as error:
                self._ended(error, left)
            else:
                self._deaths = 0
                return

    def _ended(self, error: ReplicaEndedError, left: int) -> None:
        """Return where another process is to be asked.

        Raises:
            EngineDeadError: this was the last try.
        """
        if not left:
            self._deaths += 1
            raise EngineDeadError(f"engine: {error}") from error

    async def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """See `Backend`; while one batch is read the next is computed, and no other."""
        started_s = self._clock()
        with self._streams.take(ticket):
            score = partial(self._scored, top_k=top_k, ticket=ticket)
            async with aclosing(scored_ahead(queries, score)) as scored:
                async for batch in scored:
                    yield batch
        # Streams take turns: while one lasts, as many end as there are places.
        self._streams.note_free_after((self._clock() - started_s) / (self._capacity + 1))

    async def _scored(self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket) -> ScoredBatch:
        """Score a batch, when the streams that asked before have had their turn."""
        asked_s = self._clock()
        async with within(ticket):
            await self._batch_turn.take(ticket.claim)
        try:
            turn_s = self._clock()
            ask = partial(self._replicas.score, batch, top_k, ticket)
            scores = await self._asked_again(ask)
            return ScoredBatch(scores, turn_s - asked_s, self._clock() - turn_s)
        finally:
            self._batch_turn.hand_on()

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`."""
        with self._queries.take(ticket):
            async with self._turn(ticket) as waited_s:
                ticket.prompt_tokens = len(query.prompt_ids)
                verdict = await self._asked_again(partial(self._replicas.verify, query, ticket))
        return verdict._replace(queue_s=verdict.queue_s + waited_s)

    async def _asked_again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a process says; another's word, where it ended."""
        for left in reversed(range(self._replicas.tries)):
            try:
                said = await ask()
            except ReplicaEndedError as error:
                self._ended(error, left)
            else:
                self._deaths = 0
                return said
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _turn(self, ticket: Ticket) -> AsyncIterator[float]:
        """A query's turn; gives the seconds that were waited for it."""
        asked_s = self._clock()
        if not self._turns.take_free():
            async with within(ticket):
                await self._turns.take(ticket.claim)
        started_s = self._clock()
        self._asked += 1
        try:
            yield started_s - asked_s
        finally:
            self._asked -= 1
            self._turns.hand_on()
        self._queries.note_free_after((self._clock() - started_s) / self._replicas.at_once)
