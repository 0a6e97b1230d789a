"""An engine in this process behind `Backend`: one thread, a bounded queue; knows no engine.

Clients take turns in the thread, and of all streams of scores together one batch at a time waits
for as many queries as were there before it: a query has at most one of them before it, however many
are to come, and besides it at most one computation that still runs for a client that has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec

from escalade.cloud.backends.backend import Backend, BackendInfo, Gauge, queue_length
from escalade.cloud.backends.batches import scored_ahead
from escalade.cloud.backends.drafts import Reading, draft_of, reading_of, verdict_of, with_ids
from escalade.cloud.backends.embedded.engine import Engine, EngineFactory
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import (
    Answer,
    Delta,
    Query,
    ScoredBatch,
    ScoreQuery,
    Scores,
    Verdict,
)
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker import FairTurn, Finished, Worker, finished_of
from escalade.cloud.errors import PromptTooLongError, RequestError
from escalade.v1 import cascade_pb2 as pb

_CAPABILITIES = (
    pb.CAPABILITY_GENERATE,
    pb.CAPABILITY_GENERATE_STREAM,
    pb.CAPABILITY_SCORE,
    pb.CAPABILITY_VERIFY,
    pb.CAPABILITY_SAMPLING,
)
_TIER = "cloud"
_BEST_TWO = 2

T = TypeVar("T")


class EmbeddedBackend(Backend):
    """Answers with an engine in a thread of its own.

    Args:
        load_engine: called once, in the engine's thread.
        queue_capacity: queries that may wait behind the one being computed, at least 1; and as
            many streams of scores.
        clock: seconds, monotonic.
        at_once: queries that are computed at one time.
    """

    def __init__(
        self, load_engine: EngineFactory, *, queue_capacity: int, clock: Clock, at_once: int = 1
    ) -> None:
        self._load_engine = load_engine
        self._capacity = queue_capacity
        self._clock = clock
        #: Queries that are computed at one time.
        self.at_once = at_once
        self._worker = Worker(clock)
        self._queries = Places(queue_capacity + at_once - 1, "requests")
        self._streams = Places(queue_capacity, "streams of scores")
        self._batch_turn = FairTurn()
        self._engine: Engine | None = None
        self._info: BackendInfo | None = None

    async def load(self) -> None:
        """See `Backend`."""
        engine = await self._worker.load(self._load_engine)
        own = engine.info
        member = pb.MemberReport(model=own.model, parameter_count=own.parameter_count)
        tier = pb.TierDescription(tier=_TIER, place=pb.PLACE_CLOUD, members=[member])
        self._engine = engine
        self._info = replace(
            own, queue_capacity=self._capacity, capabilities=_CAPABILITIES, tiers=(tier,)
        )
        # The hashes are in the response already, and would double it.
        member = pb.MemberReport(
            model=pb.ModelIdentity(name=own.model.name), parameter_count=own.parameter_count
        )
        self._report = pb.TierReport(tier=_TIER, place=pb.PLACE_CLOUD, members=[member])

    def close(self) -> None:
        """See `Backend`; the thread ends with what it is doing."""
        self._worker.close()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        if self._info is None:
            raise RuntimeError("the engine is not loaded yet; await load() first")
        return self._info

    def health(self) -> bool:
        """Whether the engine has not failed several times in a row."""
        return not self._worker.dead

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        return (queue_length(self._worker.waiting),)

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        self._queries.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        engine = self._loaded()
        with self._queries.take(ticket):
            said: asyncio.Queue[Delta | Finished[Answer] | RequestError] = asyncio.Queue()

            def emit(delta: Delta) -> None:
                self._worker.in_loop(partial(said.put_nowait, delta))

            def work() -> Answer:
                # A text is read here, in its turn: that takes as long as a short answer.
                read = self._read(query) if query.has_text else query
                ticket.prompt_tokens = len(read.prompt_ids)
                return engine.generate(read, ticket.should_stop, emit if query.streamed else None)

            job = self._worker.submit(work, ticket, said.put_nowait)
            try:
                while isinstance(one := await said.get(), Delta):
                    yield one
            except BaseException:
                self._worker.withdraw(job, ticket)
                raise
            finished = finished_of(one)
            # A place is free again when the query at the head is done.
            self._queries.note_free_after(finished.compute_s)
        yield Delta(answer=self._answer(finished))

    def _read(self, query: Query) -> Query:
        """The query with the ids of its texts, in the thread.

        Raises:
            PromptTooLongError: see `BackendInfo.check_prompt_length`.
        """
        ids, draft = query.prompt_ids, query.draft
        if not ids:
            ids = tuple(self._loaded().encode(query.prompt_text))
            self.info.check_prompt_length(len(ids), "prompt.text")
        if draft is not None and draft.text:
            said = self._loaded().encode(draft.text, special_tokens=False)
            draft = with_ids(draft, said[: self.info.context_length])
        return msgspec.structs.replace(query, prompt_ids=ids, draft=draft)

    async def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """See `Backend`; while one batch is read the next is computed, and no other."""
        started_s = self._clock()
        with self._streams.take(ticket):
            score = partial(self._score, top_k=top_k, ticket=ticket)
            async with aclosing(scored_ahead(queries, score)) as scored:
                async for batch in scored:
                    yield batch
        # Streams take turns: while one lasts, as many end as there are places.
        self._streams.note_free_after((self._clock() - started_s) / (self._capacity + 1))

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`; computed as a score, in turn with queries."""
        draft = draft_of(query)
        ids = draft.tokens.ids

        def work() -> tuple[Reading, int]:
            read = self._read_to_verify(query)
            ticket.prompt_tokens = len(read.prompt_ids)
            # The choice after the whole draft stands before one token more, whichever it is.
            [scores] = self._scored([ScoreQuery(read.prompt_ids, (*ids, ids[-1]))], _BEST_TWO)
            return reading_of(scores), len(read.prompt_ids)

        with self._queries.take(ticket):
            finished = await self._worker.run(work, ticket)
            self._queries.note_free_after(finished.compute_s)
        reading, prompt_tokens = finished.value
        return verdict_of(reading, draft, self.info.end_of_sequence_ids)._replace(
            prompt_tokens=prompt_tokens, queue_s=finished.queue_s, compute_s=finished.compute_s
        )

    def _read_to_verify(self, query: Query) -> Query:
        """The query with ids, in the thread.

        Raises:
            PromptTooLongError: of a text, that leaves the draft no room.
        """
        read = self._read(query) if query.has_text else query
        wanted = len(draft_of(query).tokens.ids) + 1
        room = self.info.context_length - len(read.prompt_ids)
        if wanted > room:
            raise PromptTooLongError(
                "prompt.text", f"must leave room for {wanted} tokens, leaves {room}"
            )
        return read

    def _scored(self, batch: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        return self._loaded().score(batch, top_k)

    async def _score(self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket) -> ScoredBatch:
        """Score a batch, when the streams that asked before have had their turn."""
        work = partial(self._scored, batch, top_k)
        async with self._batch_turn.hold(ticket.claim):
            finished = await self._worker.run(work, ticket, aside=True)
        return ScoredBatch(finished.value, finished.queue_s, finished.compute_s)

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the engine is not loaded yet; await load() first")
        return self._engine

    def _answer(self, finished: Finished[Answer]) -> Answer:
        """What the engine said, with the time it took and the report of this one tier."""
        answer = finished.value
        # One message to make, not three: a short query feels it.
        report = pb.TierReport()
        report.CopyFrom(self._report)
        member = report.members[0]
        member.prompt_tokens = answer.prompt_tokens
        member.generated_tokens = answer.generated_tokens
        member.seconds = finished.compute_s
        report.seconds = finished.queue_s + finished.compute_s
        return msgspec.structs.replace(
            answer, queue_s=finished.queue_s, compute_s=finished.compute_s, reports=(report,)
        )
