"""A sequence of the batch as it comes, while somebody waits for it; knows no queue, no turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import repeat

from escalade.cloud.backends.decoding import Batcher, Chooser, Progress, chooser_of
from escalade.cloud.backends.embedded.response import Response
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.query import Delta, Query
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError


async def respond(
    batcher: Batcher, query: Query, response: Response, ticket: Ticket
) -> AsyncGenerator[Delta, None]:
    """The deltas of a response, in one sequence, or with a draft in two: its reading and the rest.

    Args:
        batcher: alive.
        query: with ids.
        response: of the query; is the whole of it at the end.
        ticket: until when.

    Raises:
        EngineDeadError: it failed.
        DeadlineError, DrainingError: see `Ticket.check`.
    """
    ids, chooser = query.prompt_ids, chooser_of(query)
    draft_ids, lets_stand = response.read_draft()
    if draft_ids:
        read = sequence(batcher, ids, 1, ticket, draft_ids=draft_ids, chooser=chooser)
        async with aclosing(read) as said:
            progress = await anext(said)
        assert progress.reading is not None  # noqa: S101 - it had a draft
        response.queue_s, response.cached_prompt_tokens = progress.queue_s, progress.cached
        for choice in progress.reading.choices(draft_ids, lets_stand):
            if not response.ended:
                response.add(*choice)
                ids = (*ids, choice.token)
        if query.streamed and (delta := response.take()) is not None:
            yield delta
    if not response.left:
        return
    streamed = query.streamed or bool(query.stop_texts)
    rest = sequence(batcher, ids, response.left, ticket, streamed=streamed, chooser=chooser)
    first = True
    async with aclosing(rest) as said:
        async for progress in said:
            if first:  # it may be taken off the cache and start again; that is no queue
                first = False
                response.queue_s += progress.queue_s
                if not draft_ids:
                    response.cached_prompt_tokens = progress.cached
            top = progress.top or repeat(None, len(progress.token_ids))
            for token, logprob, row in zip(progress.token_ids, progress.logprobs, top, strict=True):
                if not response.ended:
                    response.add(token, logprob, top=row)
            if query.streamed and (delta := response.take()) is not None:
                yield delta
            if response.ended:
                break


async def sequence(
    batcher: Batcher,
    prompt_ids: Sequence[int],
    most: int,
    ticket: Ticket,
    *,
    draft_ids: Sequence[int] = (),
    streamed: bool = False,
    chooser: Chooser | None = None,
) -> AsyncGenerator[Progress, None]:
    """What a sequence says, until its end; it leaves the batch when nobody listens any more.

    Args:
        batcher: alive.
        prompt_ids: see `Batcher.submit`.
        most: new tokens; see `Batcher.submit`.
        ticket: until when.
        draft_ids: see `Batcher.submit`.
        streamed: see `Batcher.submit`.
        chooser: see `Batcher.submit`.

    Raises:
        EngineDeadError: it failed.
        DeadlineError, DrainingError: see `Ticket.check`.
    """
    said: asyncio.Queue[Progress] = asyncio.Queue()
    name = batcher.submit(
        prompt_ids,
        most,
        said.put_nowait,
        streamed=streamed,
        draft_ids=draft_ids,
        chooser=chooser,
    )
    try:
        finished = False
        while not finished:
            async with within(ticket, lambda: batcher.alive or not said.empty()):
                progress = await said.get()
            if progress.error is not None:
                raise EngineDeadError(f"engine: {progress.error}")
            finished = progress.finished
            yield progress
    finally:
        batcher.cancel(name)
