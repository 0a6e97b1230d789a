"""What is awaited ends with its ticket, or with whoever was to answer, and not before."""

from __future__ import annotations

import asyncio
import time

import pytest

from escalade.cloud.backends import Ticket
from escalade.cloud.backends.lasting import within
from escalade.cloud.errors import DeadlineError, DrainingError, EngineDeadError


def ticket(seconds: float) -> Ticket:
    return Ticket(time.monotonic() + seconds, time.monotonic)


def test_it_ends_with_the_ticket_also_where_that_was_extended() -> None:
    async def main() -> None:
        mine = ticket(0.02)
        mine.extend(time.monotonic() + 0.06)
        began_s = time.monotonic()
        with pytest.raises(DeadlineError):
            async with within(mine):
                await asyncio.Event().wait()
        assert time.monotonic() - began_s >= 0.05

    asyncio.run(main())


def test_a_cancelled_ticket_ends_it_at_the_next_look() -> None:
    async def main() -> None:
        mine = ticket(60)
        mine.cancel()
        with pytest.raises(DrainingError):
            async with within(mine):
                await asyncio.Event().wait()

    asyncio.run(main())


def test_what_the_dead_sent_before_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escalade.cloud.backends.lasting._LOOK_S", 0.01)

    async def main() -> None:
        sent: asyncio.Queue[str] = asyncio.Queue()
        asyncio.get_running_loop().call_later(0.005, sent.put_nowait, "the last")
        async with within(ticket(60), alive=lambda: False):
            assert await sent.get() == "the last"
        with pytest.raises(EngineDeadError):
            async with within(ticket(60), alive=lambda: False):
                await sent.get()

    asyncio.run(main())


def test_a_timeout_of_another_is_his() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with within(ticket(60)):
                raise TimeoutError

    asyncio.run(main())
