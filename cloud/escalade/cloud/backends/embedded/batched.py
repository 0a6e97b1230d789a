"""An engine whose queries are computed together, behind `Backend`; knows no gRPC.

Scores are computed as in `EmbeddedBackend`, a batch at a time in a thread of their own, while
the sequences wait for one step.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from escalade.cloud.backends.decoding import Batcher, KvMemory, Progress, kv_memory_of
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.response import Response
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery, Scores
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker import FairTurn, Finished
from escalade.cloud.errors import EngineDeadError

#: Sequences that are computed together at most. With 64 of the bundled large model one x86 core
#: gives 1.3 times the queries of 16, each of which then takes 2.7 times as long.
SEQUENCES = 64
# Prompts by which a model is tried, of more than one page together, and tokens of an answer.
_PROBE_LENGTHS, _PROBE_TOKENS = (1, 5, 17, 23), 6
# Log-probabilities nearer than this are one: float32 differs by 1e-6 to 1e-5 here.
_SAME = 1e-2


T = TypeVar("T")


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
        network = self._transformers.network
        window = self.info.context_length
        memory = kv_memory_of(network, sequences=SEQUENCES, window=window, at_most=self._kv_bytes)
        # A sequence that the whole cache could not hold would end the batch for all.
        self._info = replace(self.info, context_length=min(window, memory.tokens))
        with _library_muted():
            why = await self._why_not_together(memory)
        if why is None:
            self._say(
                f"KV cache of {memory.bytes / 1e6:.1f} MB: {memory.tokens} tokens of up to"
                f" {SEQUENCES} sequences at once"
            )
            return
        self._say(f"one query at a time: this model's cannot be computed together: {why}")
        if self._batcher is not None:
            self._batcher.close()
            self._batcher = None
        self._info = replace(self.info, context_length=window)
        self._queries = Places(self._capacity, "requests")

    async def _why_not_together(self, memory: KvMemory) -> str | None:
        """Begin, and try a few queries of unlike length; None where they get their own answers.

        The library takes models that it does not compute rightly (Bloom, transformers 5.23), and
        fails on others at the first query.
        """
        size, window = self.info.vocabulary_size, self.info.context_length
        queries = [
            Query(tuple((7 * place + length) % size for place in range(length)), _PROBE_TOKENS)
            for length in _PROBE_LENGTHS
            if length + _PROBE_TOKENS <= window
        ]
        forever = Ticket(math.inf, self._clock)
        try:
            self._batcher = Batcher(
                self._transformers.network,
                memory=memory,
                sequences=SEQUENCES,
                end_ids=self.info.end_of_sequence_ids,
            )
            self._batcher.start()
            together = await asyncio.gather(*(self._probe(query, forever) for query in queries))
            return (await self._worker.run(partial(self._differ, queries, together), forever)).value
        except Exception as error:
            return str(error).partition("\n")[0]

    def _differ(self, queries: Sequence[Query], together: Sequence[Answer]) -> str | None:
        """Whether the model itself, asked alone, finds what was said less likely, or more."""
        scored = [
            ScoreQuery(query.prompt_ids, tuple(answer.chosen_ids))
            for query, answer in zip(queries, together, strict=True)
        ]
        try:
            alone = self._scored(scored, 0)
        except Exception as error:
            return str(error).partition("\n")[0]
        near = (
            np.allclose(answer.logprobs, scores.response_logprobs, atol=_SAME)
            for answer, scores in zip(together, alone, strict=True)
        )
        return None if all(near) else "its answers are others than alone"

    async def _probe(self, query: Query, ticket: Ticket) -> Answer:
        *_, last = [delta async for delta in self._generated(query, ticket, 0.0)]
        assert last.answer is not None  # noqa: S101 - the last has it
        return last.answer

    def close(self) -> None:
        """See `Backend`."""
        super().close()
        if self._batcher is not None:
            self._batcher.close()

    def health(self) -> bool:
        """Whether the batch goes on, and scores have not failed several times in a row."""
        return super().health() and (self._batcher is None or self._batcher.alive)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        if self._batcher is None:
            async with aclosing(super().generate(query, ticket)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        with self._queries.take(ticket):
            if not query.prompt_ids:
                query = (await self._in_turn(partial(self._read, query), ticket)).value
            started_s = self._clock()
            await _while(ticket, partial(self._turns.take, ticket.claim))
            try:
                waited_s = self._clock() - started_s
                async with aclosing(self._generated(query, ticket, waited_s)) as deltas:
                    async for delta in deltas:
                        yield delta
            finally:
                self._turns.hand_on()
            self._queries.note_free_after((self._clock() - started_s - waited_s) / SEQUENCES)

    async def _generated(
        self, query: Query, ticket: Ticket, waited_s: float
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of a query whose turn has come."""
        batcher, started_s = self._running(), self._clock()
        response = Response(
            query,
            self.info,
            self._transformers.decode,
            self._transformers.spell,
            streamed=query.streamed,
        )
        said: asyncio.Queue[Progress] = asyncio.Queue()
        name = batcher.submit(
            query.prompt_ids,
            response.longest,
            said.put_nowait,
            streamed=query.streamed or bool(query.stop_texts),
        )
        try:
            finished = False
            while not (finished or response.ended):
                progress = await _while(ticket, said.get)
                if progress.error is not None:
                    raise EngineDeadError(f"engine: {progress.error}")
                for token, logprob in zip(progress.token_ids, progress.logprobs, strict=True):
                    if not response.ended:
                        response.add(token, logprob)
                finished = progress.finished
                if query.streamed and (delta := response.take()) is not None:
                    yield delta
        finally:
            batcher.cancel(name)
        seconds = self._clock() - started_s
        queue_s = min(seconds, progress.queue_s)
        yield Delta(
            answer=self._answer(Finished(response.answer(), waited_s + queue_s, seconds - queue_s))
        )

    def _scored(self, batch: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        if self._batcher is None:
            return super()._scored(batch, top_k)
        with self._batcher.paused():
            return super()._scored(batch, top_k)

    def _running(self) -> Batcher:
        if self._batcher is None:
            raise RuntimeError("the engine is not loaded yet; await load() first")
        return self._batcher


@contextmanager
def _library_muted() -> Iterator[None]:
    """Keep a failure of the library off the terminal: it is told in a line."""
    log = logging.getLogger("transformers.generation.continuous_batching")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


async def _while(ticket: Ticket, make: Callable[[], Awaitable[T]]) -> T:
    """Await something while the ticket lasts.

    Args:
        ticket: may be extended meanwhile.
        make: what is awaited; may be given up and made again.

    Raises:
        DeadlineError, DrainingError: see `Ticket.check`.
    """
    while True:
        ticket.check()
        left_s = ticket.remaining_s()
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s if math.isfinite(left_s) else None):
                return await make()
