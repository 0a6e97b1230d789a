"""What is awaited for a ticket, and no longer than it lasts; knows no backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError

# A ticket may be extended or cancelled meanwhile, and what is awaited may die.
_LOOK_S = 1.0


@asynccontextmanager
async def within(ticket: Ticket, alive: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
    """End what the block awaits when the ticket does; a generator must not yield in it.

    Args:
        ticket: may be extended meanwhile.
        alive: whether what is awaited may still come; looked at now and then.

    Raises:
        DeadlineError, DrainingError: see `Ticket.check`.
        EngineDeadError: it will not come.
    """
    loop = asyncio.get_running_loop()
    limit = asyncio.timeout(None)
    again: asyncio.Handle
    gone = False

    def look() -> None:
        nonlocal again, gone
        # What was sent before it died may be on its way: it is given until the next look.
        was_gone, gone = gone, not alive()
        if ticket.should_stop() is None and not (gone and was_gone):
            again = loop.call_later(min(ticket.remaining_s(), _LOOK_S), look)
        else:
            limit.reschedule(loop.time())

    again = loop.call_soon(look)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        ticket.check()
        raise EngineDeadError("engine: ended before it answered") from error
    finally:
        again.cancel()
