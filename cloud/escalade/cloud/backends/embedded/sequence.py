"""A sequence of the batch as it comes, while somebody waits for it; knows no query, no text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from escalade.cloud.backends.decoding import Batcher, Progress
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError

_LOOK_S = 1.0

T = TypeVar("T")


async def sequence(
    batcher: Batcher,
    prompt_ids: Sequence[int],
    most: int,
    ticket: Ticket,
    *,
    draft_ids: Sequence[int] = (),
    streamed: bool = False,
) -> AsyncGenerator[Progress, None]:
    """What a sequence says, until its end; it leaves the batch when nobody listens any more.

    Args:
        batcher: alive.
        prompt_ids: see `Batcher.submit`.
        most: new tokens; see `Batcher.submit`.
        ticket: until when.
        draft_ids: see `Batcher.submit`.
        streamed: see `Batcher.submit`.

    Raises:
        EngineDeadError: it failed.
        DeadlineError, DrainingError: see `Ticket.check`.
    """
    said: asyncio.Queue[Progress] = asyncio.Queue()
    name = batcher.submit(prompt_ids, most, said.put_nowait, streamed=streamed, draft_ids=draft_ids)
    try:
        finished = False
        while not finished:
            progress = await while_lasts(
                ticket, said.get, lambda: batcher.alive or not said.empty()
            )
            if progress.error is not None:
                raise EngineDeadError(f"engine: {progress.error}")
            finished = progress.finished
            yield progress
    finally:
        batcher.cancel(name)


async def while_lasts(
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
