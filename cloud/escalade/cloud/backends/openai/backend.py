"""An OpenAI-compatible server behind `Backend`: its queue, its turns, its health; knows no HTTP.

What it offers is found out once, when it is loaded. So many requests are under way there at one
time; clients take turns, and the rest wait here, where a deadline or a client that leaves costs
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from escalade.cloud.backends.backend import Backend, BackendInfo
from escalade.cloud.backends.drafts import draft_of, with_ids
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.openai.answering import Answering
from escalade.cloud.backends.openai.listing import Told
from escalade.cloud.backends.openai.probe import probe
from escalade.cloud.backends.openai.server import BEST_TWO, Offer, Upstream, together
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
from escalade.cloud.backends.ticket import Clock, Ticket, deadline_after
from escalade.cloud.backends.worker import FairTurn
from escalade.cloud.errors import ModelError, NotSupportedError, PromptTooLongError, RequestError
from escalade.v1 import cascade_pb2 as pb

if TYPE_CHECKING:
    from escalade.cloud.backends.openai.vocabulary import Vocabulary

_TIER = "cloud"
# A server that does not answer its first questions in this time is not there. vLLM takes its time
# for the first answer: 9 s on two cores.
_PROBE_S = 120.0
# How long one that has failed is left alone before it is asked again, and may take then.
_AGAIN_S = 1.0
# Responses that are scored for one stream at one time; the reader waits for all of them.
_SCORED_TOGETHER = 8
# Of a tokenizer that is not known; OpenAI's cl100k_base has tokens of 128 blanks.
_LONGEST_TOKEN_BYTES = 128


class OpenAIBackend(Backend):
    """Answers with another server.

    Args:
        connect: makes the client; called once, in the event loop.
        read_vocabulary: reads its tokenizer, in a thread; None asks it in text alone.
        told: what an operator says of the model.
        at_once: requests that are under way there at one time, at least 1.
        queue_capacity: queries that may wait beside those, at least 1; and as many streams of
            scores.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        connect: Callable[[], Upstream],
        read_vocabulary: Callable[[], Vocabulary] | None,
        told: Told,
        *,
        at_once: int,
        queue_capacity: int,
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._read_vocabulary = read_vocabulary
        self._told = told
        self._at_once, self._capacity = at_once, queue_capacity
        self._clock = clock
        self._queries = Places(queue_capacity + at_once - 1, "requests")
        self._streams = Places(queue_capacity, "streams of scores")
        self._turns = FairTurn(at_once)
        # A text takes several hundred times its size while it is tokenized: one at a time.
        self._reading = FairTurn()
        self._keeper: asyncio.Task[None] | None = None
        self._vocabulary: Vocabulary | None = None
        self._info: BackendInfo | None = None

    async def load(self) -> None:
        """See `Backend`."""
        if self._read_vocabulary is not None:
            self._vocabulary = await asyncio.to_thread(self._read_vocabulary)
        self._upstream = self._connect()
        # It lives as long as the backend, and closes the connections: `close` cannot wait.
        self._keeper = asyncio.create_task(self._keep())
        ticket = Ticket(deadline_after(_PROBE_S, self._clock), self._clock)
        try:
            offer = await probe(self._upstream, self._vocabulary, self._told, ticket)
        except RequestError as error:
            raise ModelError(f"{self._upstream.endpoint.url}: {error}") from error
        self._info = _info_of(offer, self._vocabulary, self._capacity)
        self._answering = Answering(self._upstream, offer, self._vocabulary, self._info)

    def close(self) -> None:
        """See `Backend`."""
        if self._keeper is not None:
            self._keeper.cancel()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        if self._info is None:
            raise RuntimeError("the server is not known yet; await load() first")
        return self._info

    def health(self) -> bool:
        """Whether the server has not failed several times in a row, or answers again."""
        return not self._upstream.failed.is_set()

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        self._queries.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        with self._queries.take(ticket):
            came_s = self._clock()
            query = await self._with_ids(query, ticket)
            async with self._turn(ticket):
                ticket.prompt_tokens = len(query.prompt_ids)
                started_s = self._clock()
                with self._upstream.counted():
                    async with aclosing(self._answering.answer(query, ticket)) as deltas:
                        async for delta in deltas:
                            if delta.answer is None:
                                yield delta
                            else:
                                answer = delta.answer
            ended_s = self._clock()
            self._queries.note_free_after((ended_s - started_s) / self._at_once)
        yield Delta(answer=self._reported(answer, started_s - came_s, ended_s - started_s))

    async def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """See `Backend`; some responses at a time, each in a turn of its own."""
        self._check_offered(pb.CAPABILITY_SCORE)
        waiting = iter(queries)
        began_s = self._clock()
        with self._streams.take(ticket):
            # To make the first of them checks all; the loop has other work.
            while batch := await asyncio.to_thread(list, islice(waiting, _SCORED_TOGETHER)):
                ticket.check()
                started_s = self._clock()
                scores = await together(self._score(one, top_k, ticket) for one in batch)
                yield ScoredBatch(scores, 0.0, self._clock() - started_s)
        self._streams.note_free_after((self._clock() - began_s) / (self._capacity + 1))

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`."""
        self._check_offered(pb.CAPABILITY_VERIFY)
        wanted = len(draft_of(query).tokens.ids) + 1
        with self._queries.take(ticket):
            came_s = self._clock()
            query = await self._with_ids(query, ticket)
            room = self.info.context_length - len(query.prompt_ids)
            if wanted > room:
                raise PromptTooLongError(
                    "prompt.text", f"must leave room for {wanted} tokens, leaves {room}"
                )
            async with self._turn(ticket):
                ticket.prompt_tokens = len(query.prompt_ids)
                started_s = self._clock()
                with self._upstream.counted():
                    verdict = await self._answering.verify(query, ticket)
            seconds = self._clock() - started_s
            self._queries.note_free_after(seconds / self._at_once)
        return verdict._replace(queue_s=started_s - came_s, compute_s=seconds)

    def _check_offered(self, capability: pb.Capability) -> None:
        if capability not in self.info.capabilities:
            name = pb.Capability.Name(capability).removeprefix("CAPABILITY_").title()
            raise NotSupportedError(f"{name}: the server behind this one does not offer it")

    async def _score(self, query: ScoreQuery, top_k: int, ticket: Ticket) -> Scores:
        async with self._turn(ticket):
            with self._upstream.counted():
                return await self._answering.score(query, top_k, ticket)

    @asynccontextmanager
    async def _turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Have one of the requests that may be under way."""
        async with within(ticket):
            await self._turns.take(ticket.claim)
        try:
            ticket.check()
            yield
        finally:
            self._turns.hand_on()

    async def _with_ids(self, query: Query, ticket: Ticket) -> Query:
        """The query with the ids of its texts, where there is a tokenizer.

        Raises:
            PromptTooLongError: see `BackendInfo.check_prompt_length`.
        """
        if not query.has_text or self._vocabulary is None:
            return query
        async with within(ticket), self._reading.hold(ticket.claim):
            return await asyncio.to_thread(self._read, self._vocabulary, query)

    def _read(self, vocabulary: Vocabulary, query: Query) -> Query:
        ids, draft = query.prompt_ids, query.draft
        if not ids:
            ids = vocabulary.encode(query.prompt_text)
            self.info.check_prompt_length(len(ids), "prompt.text")
        if draft is not None and draft.text:
            said = vocabulary.encode(draft.text, special_tokens=False)
            draft = with_ids(draft, said[: self.info.context_length])
        return msgspec.structs.replace(query, prompt_ids=ids, draft=draft)

    def _reported(self, answer: Answer, queue_s: float, compute_s: float) -> Answer:
        """An answer with the time it took and the report of this one tier."""
        member = pb.MemberReport(
            # The hashes are in the response already, and would double it.
            model=pb.ModelIdentity(name=self.info.model.name),
            parameter_count=self.info.parameter_count,
            prompt_tokens=answer.prompt_tokens,
            generated_tokens=answer.generated_tokens,
            seconds=compute_s,
        )
        report = pb.TierReport(
            tier=_TIER, place=pb.PLACE_CLOUD, members=[member], seconds=queue_s + compute_s
        )
        return msgspec.structs.replace(
            answer, queue_s=queue_s, compute_s=compute_s, reports=(report,)
        )

    async def _keep(self) -> None:
        """Ask a server that has failed until it answers; close the connections at the end."""
        try:
            while True:
                await self._upstream.failed.wait()
                await asyncio.sleep(_AGAIN_S)
                ticket = Ticket(deadline_after(_PROBE_S, self._clock), self._clock)
                with suppress(RequestError), self._upstream.counted():
                    await self._answering.touch(ticket)
        finally:
            await self._upstream.aclose()


def _info_of(offer: Offer, vocabulary: Vocabulary | None, capacity: int) -> BackendInfo:
    """What is told of a server."""
    capabilities = [pb.CAPABILITY_GENERATE]
    if offer.streams:
        capabilities.append(pb.CAPABILITY_GENERATE_STREAM)
    if offer.max_top_k:
        capabilities.append(pb.CAPABILITY_SCORE)
    if offer.max_top_k >= BEST_TWO:
        capabilities.append(pb.CAPABILITY_VERIFY)
    # Which weights it has nobody here can know.
    model = pb.ModelIdentity(
        name=offer.model,
        tokenizer_fingerprint="" if vocabulary is None else vocabulary.fingerprint,
    )
    member = pb.MemberReport(model=model, parameter_count=offer.parameter_count)
    return BackendInfo(
        model=model,
        engine=offer.engine,
        parameter_count=offer.parameter_count,
        vocabulary_size=0 if vocabulary is None else vocabulary.size,
        context_length=offer.context_length,
        end_of_sequence_ids=() if vocabulary is None else vocabulary.end_ids,
        longest_token_bytes=(
            _LONGEST_TOKEN_BYTES if vocabulary is None else vocabulary.longest_token_bytes
        ),
        max_new_tokens=offer.context_length - 1,
        max_top_k=offer.max_top_k,
        queue_capacity=capacity,
        capabilities=tuple(capabilities),
        tiers=(pb.TierDescription(tier=_TIER, place=pb.PLACE_CLOUD, members=[member]),),
    )
