"""A sequence of the batch as it comes, while somebody waits for it; knows no queue, no turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import repeat

from escalade.cloud.backends.decoding import Batcher, Chooser, Progress, chooser_of
from escalade.cloud.backends.drafts import Rest
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
    said, rest = await _read_draft(batcher, query, response, ticket)
    if query.streamed and said and (delta := response.take()) is not None:
        yield delta
    if not response.left:
        return
    streamed = query.streamed or bool(query.stop_texts)
    others = sequence(
        batcher,
        (*query.prompt_ids, *said),
        response.left,
        ticket,
        streamed=streamed,
        chooser=chooser_of(query),
        rest=rest,
    )
    first = True
    async with aclosing(others) as pieces:
        async for progress in pieces:
            if first:  # it may be taken off the cache and start again; that is no queue
                first = False
                response.queue_s += progress.queue_s
                if not said:
                    response.cached_prompt_tokens = progress.cached
            top = progress.top or repeat(None, len(progress.token_ids))
            for token, logprob, row in zip(progress.token_ids, progress.logprobs, top, strict=True):
                if not response.ended:
                    response.add(token, logprob, top=row)
            if query.streamed and (delta := response.take()) is not None:
                yield delta
            if response.ended:
                break


async def _read_draft(
    batcher: Batcher, query: Query, response: Response, ticket: Ticket
) -> tuple[Sequence[int], Rest | None]:
    """What a draft and the choice behind it add to a response, and its rest where there is one."""
    draft_ids, lets_stand = response.read_draft()
    if not draft_ids:
        return (), None
    read = sequence(
        batcher, query.prompt_ids, 1, ticket, draft_ids=draft_ids, chooser=chooser_of(query)
    )
    async with aclosing(read) as pieces:
        progress = await anext(pieces)
    assert progress.reading is not None  # noqa: S101 - it had a draft
    response.queue_s, response.cached_prompt_tokens = progress.queue_s, progress.cached
    said = []
    for choice in progress.reading.choices(draft_ids, lets_stand):
        if response.ended:
            break
        response.add(*choice)
        said.append(choice.token)
    return said, Rest(draft_ids, said) if len(said) <= len(draft_ids) else None


async def sequence(
    batcher: Batcher,
    prompt_ids: Sequence[int],
    most: int,
    ticket: Ticket,
    *,
    draft_ids: Sequence[int] = (),
    streamed: bool = False,
    chooser: Chooser | None = None,
    rest: Rest | None = None,
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
        rest: see `Batcher.submit`.

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
        rest=rest,
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
