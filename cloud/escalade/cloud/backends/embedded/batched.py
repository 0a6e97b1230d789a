"""An engine whose queries are computed together, behind `Backend`; knows no gRPC.

Scores are computed as in `EmbeddedBackend`, a batch at a time in a thread of their own, while
the sequences wait for one step.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial

from escalade.cloud.backends.backend import Gauge, queue_length
from escalade.cloud.backends.decoding import Batcher, kv_memory_of
from escalade.cloud.backends.drafts import draft_of, verdict_of
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.response import Response
from escalade.cloud.backends.embedded.sequence import respond, sequence
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.embedded.trial import (
    agree,
    given_responses,
    library_muted,
    trial_queries,
    why_alone,
)
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker import FairTurn, Finished
from escalade.cloud.errors import EngineDeadError

#: Sequences that are computed together at most. With 64 of the bundled large model one x86 core
#: gives 1.3 times the queries of 16, each of which then takes 2.7 times as long.
SEQUENCES = 64
# One odd step must not take a server out of rotation; this many in a row are the engine.
_DEATHS_UNTIL_DEAD = 3


class BatchedBackend(EmbeddedBackend):
    """Answers many queries at once: each step computes a token of every one.

    Args:
        load_engine: called once, in a thread.
        queue_capacity: queries that may wait beside those that are computed, at least 1.
        clock: seconds, monotonic.
        kv_bytes: of the KV cache; None is what all sequences need, or a quarter of the free
            memory where that is less.
        say: told in a line what was allocated.
    """

    def __init__(
        self,
        load_engine: Callable[[], TransformersEngine],
        *,
        queue_capacity: int,
        clock: Clock,
        kv_bytes: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(load_engine, queue_capacity=queue_capacity, clock=clock, at_once=SEQUENCES)
        self._load_model = load_engine
        self._kv_bytes, self._say = kv_bytes, say
        self._batcher: Batcher | None = None
        self._deaths = 0
        self._turns = FairTurn(SEQUENCES)

    async def load(self) -> None:
        """See `Backend`."""
        loaded: list[TransformersEngine] = []

        def load() -> TransformersEngine:
            loaded.append(self._load_model())
            return loaded[0]

        self._load_engine = load
        await super().load()
        [self._transformers] = loaded
        window = self.info.context_length
        with library_muted():
            why = why_alone(self._transformers.network) or await self._why_not_together(window)
            if why is not None and self._batcher is not None:
                self._batcher.close()
                self._batcher = None
        if why is not None:
            self._say(f"one query at a time: this model's cannot be computed together: {why}")
            self._info = replace(self.info, context_length=window)
            self._queries = Places(self._capacity, "requests")
            self.at_once = 1
            return
        longest = self.info.context_length
        memory = self._memory
        cut = f", one of {longest} where the model takes {window}" if longest < window else ""
        self._say(
            f"KV cache of {memory.bytes / 1e6:.1f} MB: {memory.tokens} tokens of up to"
            f" {SEQUENCES} sequences at once{cut}"
        )
        if not self._takes_choosers():
            self._say("drawn tokens and their alternatives: one query at a time, beside the batch")
            self._transformers.share(lambda: self._alive().paused())

    def _takes_choosers(self) -> bool:
        return self._batcher is not None and self._batcher.takes_choosers

    def _begin(self) -> Batcher:
        batcher = Batcher(
            self._transformers.network,
            memory=self._memory,
            sequences=SEQUENCES,
            end_ids=self.info.end_of_sequence_ids,
        )
        batcher.start()
        return batcher

    async def _why_not_together(self, window: int) -> str | None:
        """Begin, and try a few queries; None where they get their own answers."""
        forever = Ticket(math.inf, self._clock)
        network = self._transformers.network
        self._memory = kv_memory_of(
            network, sequences=SEQUENCES, window=window, at_most=self._kv_bytes
        )
        try:
            self._batcher = self._begin()
            # A sequence that the whole cache could not hold would end the batch for all.
            longest = self._batcher.longest(window)
            self._info = replace(self.info, context_length=longest)
            queries = trial_queries(self.info.vocabulary_size, longest)
            together = await asyncio.gather(*(self._probe(query, forever) for query in queries))
            return (await self._worker.run(partial(self._differ, queries, together), forever)).value
        except Exception as error:
            return str(error).partition("\n")[0]

    def _differ(self, queries: Sequence[Query], together: Sequence[Answer]) -> str | None:
        """Why what was said together is not what the model says alone, in the thread."""
        try:
            alone = self._scored(given_responses(queries, together), 0)
        except Exception as error:
            return str(error).partition("\n")[0]
        same = agree(together, alone, self._transformers.network.dtype)
        return None if same else "its answers are others than alone"

    async def _probe(self, query: Query, ticket: Ticket) -> Answer:
        *_, last = [delta async for delta in self._generated(query, ticket)]
        assert last.answer is not None  # noqa: S101 - the last has it
        return last.answer

    def close(self) -> None:
        """See `Backend`."""
        super().close()
        if self._batcher is not None:
            self._batcher.close()

    def health(self) -> bool:
        """Whether neither the batch nor scores have failed several times in a row."""
        return super().health() and self._deaths < _DEATHS_UNTIL_DEAD

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        if self._batcher is None:
            return super().gauges()
        load = self._batcher.load()
        return (
            queue_length(max(0, len(self._queries) - load.sequences)),
            Gauge("batch_size", "Sequences that are computed together.", load.sequences),
            Gauge("kv_pages", "Pages of the KV cache.", load.pages),
            Gauge("kv_pages_used", "Of them, those that sequences hold.", load.pages_used),
            Gauge(
                "kv_pages_kept",
                "Of them, those that hold the beginnings of earlier sequences, until needed.",
                load.pages_kept,
            ),
        )

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        chooses = query.sampling is not None or query.top_logprobs > 0
        if self._batcher is None or (chooses and not self._takes_choosers()):
            async with aclosing(super().generate(query, ticket)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        with self._queries.take(ticket):
            waited_s = read_s = 0.0
            if query.has_text:
                read = await self._worker.run(partial(self._read, query), ticket)
                query, waited_s, read_s = read.value, read.queue_s, read.compute_s
            async with self._turn(ticket) as turn_s:
                deltas = self._generated(query, ticket, waited_s + turn_s, read_s)
                async with aclosing(deltas):
                    async for delta in deltas:
                        yield delta

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`; read in the batch, beside the others' next tokens."""
        if self._batcher is None:
            return await super().verify(query, ticket)
        with self._queries.take(ticket):
            read = await self._worker.run(partial(self._read_to_verify, query), ticket)
            ids, draft = read.value.prompt_ids, draft_of(query)
            async with self._turn(ticket) as turn_s:
                ticket.check()
                ticket.prompt_tokens = len(ids)
                started_s = self._clock()
                said = sequence(self._alive(), ids, 1, ticket, draft_ids=draft.tokens.ids)
                async with aclosing(said):
                    progress = await anext(said)
                seconds = self._clock() - started_s
        assert progress.reading is not None  # noqa: S101 - it had a draft
        self._deaths = 0
        queue_s = min(seconds, progress.queue_s)
        return verdict_of(progress.reading, draft, self.info.end_of_sequence_ids)._replace(
            prompt_tokens=len(ids),
            cached_prompt_tokens=progress.cached,
            queue_s=read.queue_s + turn_s + queue_s,
            compute_s=read.compute_s + seconds - queue_s,
        )

    @asynccontextmanager
    async def _turn(self, ticket: Ticket) -> AsyncIterator[float]:
        """A sequence's turn in the batch; gives the seconds that were waited for it."""
        asked_s = self._clock()
        if not self._turns.take_free():
            async with within(ticket):
                await self._turns.take(ticket.claim)
        started_s = self._clock()
        try:
            yield started_s - asked_s
        finally:
            self._turns.hand_on()
        self._queries.note_free_after((self._clock() - started_s) / SEQUENCES)

    async def _generated(
        self, query: Query, ticket: Ticket, waited_s: float = 0.0, read_s: float = 0.0
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of a query whose turn has come, after some time."""
        ticket.check()
        ticket.prompt_tokens = len(query.prompt_ids)
        batcher, started_s = self._alive(), self._clock()
        response = Response(
            query,
            self.info,
            self._transformers.decode,
            self._transformers.spell,
            streamed=query.streamed,
        )
        async with aclosing(respond(batcher, query, response, ticket)) as deltas:
            async for delta in deltas:
                yield delta
        self._deaths = 0
        seconds = self._clock() - started_s
        queue_s = min(seconds, response.queue_s)
        waited_s, seconds = waited_s + queue_s, read_s + seconds - queue_s
        yield Delta(answer=self._answer(Finished(response.answer(), waited_s, seconds)))

    def _scored(self, batch: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        if self._batcher is None:
            return super()._scored(batch, top_k)
        with self._batcher.paused():
            return super()._scored(batch, top_k)

    def _alive(self) -> Batcher:
        """The batch; one that has failed is begun anew, but not for ever.

        Raises:
            EngineDeadError: it has failed several times in a row.
        """
        if self._batcher is None:
            raise RuntimeError("the engine is not loaded yet; await load() first")
        if not self._batcher.alive:
            self._deaths += 1
            if self._deaths >= _DEATHS_UNTIL_DEAD:
                raise EngineDeadError("engine: failed several times in a row")
            self._batcher.close()
            self._batcher = self._begin()
        return self._batcher
