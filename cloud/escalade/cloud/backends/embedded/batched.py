"""An engine whose queries are computed together, behind `Backend`; knows no gRPC.

Scores are computed as in `EmbeddedBackend`, a batch at a time in a thread of their own, while
the sequences wait for one step.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from escalade.cloud.backends.backend import Gauge, queue_length
from escalade.cloud.backends.decoding import Batcher, Progress, chooser_of, kv_memory_of
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
# One odd step must not take a server out of rotation; this many in a row are the engine.
_DEATHS_UNTIL_DEAD = 3
_LOOK_S = 1.0
# Log-probabilities nearer than this are one. SmolLM2-135M differs by 1e-5, 0.01 and 0.15 here.
_SAME = {torch.float32: 1e-2, torch.float16: 1e-1, torch.bfloat16: 5e-1}


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
        with _library_muted():
            why = _alone(self._transformers.network) or await self._why_not_together(window)
            if why is not None and self._batcher is not None:
                self._batcher.close()
                self._batcher = None
        if why is not None:
            self._say(f"one query at a time: this model's cannot be computed together: {why}")
            self._info = replace(self.info, context_length=window)
            self._queries = Places(self._capacity, "requests")
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
        """Begin, and try a few queries of unlike length; None where they get their own answers.

        The library takes models that it does not compute rightly (Bloom, transformers 5.23), and
        fails on others at the first query.
        """
        size = self.info.vocabulary_size
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
            queries = [
                Query(tuple((7 * place + length) % size for place in range(length)), _PROBE_TOKENS)
                for length in _PROBE_LENGTHS
                if length + _PROBE_TOKENS <= longest
            ]
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
        same = _SAME.get(self._transformers.network.dtype, min(_SAME.values()))
        near = (
            np.allclose(answer.logprobs, scores.response_logprobs, atol=same)
            for answer, scores in zip(together, alone, strict=True)
        )
        return None if all(near) else "its answers are others than alone"

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
            if not query.prompt_ids:
                read = await self._worker.run(partial(self._read, query, ticket), ticket)
                query, waited_s, read_s = read.value, read.queue_s, read.compute_s
            asked_s = self._clock()
            await _while(ticket, partial(self._turns.take, ticket.claim))
            started_s = self._clock()
            waited_s += started_s - asked_s
            try:
                deltas = self._generated(query, ticket, waited_s, read_s)
                async with aclosing(deltas):
                    async for delta in deltas:
                        yield delta
            finally:
                self._turns.hand_on()
            self._queries.note_free_after((self._clock() - started_s) / SEQUENCES)

    async def _generated(
        self, query: Query, ticket: Ticket, waited_s: float = 0.0, read_s: float = 0.0
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of a query whose turn has come, after some time."""
        ticket.check()
        batcher, started_s = self._alive(), self._clock()
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
            chooser=chooser_of(query),
        )
        try:
            finished, queue_s = False, None
            while not (finished or response.ended):
                progress = await _while(ticket, said.get, lambda: batcher.alive or not said.empty())
                if progress.error is not None:
                    raise EngineDeadError(f"engine: {progress.error}")
                # It starts again where it was taken off the cache; that is no queue.
                queue_s = progress.queue_s if queue_s is None else queue_s
                top = progress.top or repeat(None, len(progress.token_ids))
                for token, logprob, row in zip(
                    progress.token_ids, progress.logprobs, top, strict=True
                ):
                    if not response.ended:
                        response.add(token, logprob, top=row)
                finished = progress.finished
                if query.streamed and (delta := response.take()) is not None:
                    yield delta
        finally:
            batcher.cancel(name)
        self._deaths = 0
        seconds = self._clock() - started_s
        queue_s = min(seconds, queue_s or 0.0)
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


def _alone(network: PreTrainedModel) -> str | None:
    """Why the library is not even asked; None where it is."""
    if network.config.is_encoder_decoder:
        return "an encoder-decoder"
    devices = {values.device for values in network.parameters()}
    return f"its layers are on {len(devices)} devices" if len(devices) > 1 else None


@contextmanager
def _library_muted() -> Iterator[None]:
    """Keep a failure of the library off the terminal: it is told in a line."""
    log = logging.getLogger("ContinuousBatchingLogger")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


async def _while(
    ticket: Ticket, make: Callable[[], Awaitable[T]], alive: Callable[[], bool] = lambda: True
) -> T:
    """Await something while the ticket lasts.

    Args:
        ticket: may be extended meanwhile.
        make: what is awaited; may be given up and made again.
        alive: whether it may still come; looked at now and then.

    Raises:
        DeadlineError, DrainingError: see `Ticket.check`.
        EngineDeadError: it will not come.
    """
    while True:
        ticket.check()
        if not alive():
            raise EngineDeadError("engine: ended before it answered")
        with suppress(TimeoutError):
            async with asyncio.timeout(min(ticket.remaining_s(), _LOOK_S)):
                return await make()
