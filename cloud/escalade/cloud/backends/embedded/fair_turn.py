"""One at a time, and clients in turns; knows no worker, no thread.

`asyncio.Lock` is first come, first served: who asks for much would have most of the turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from escalade.cloud.backends.fair_order import Claim, FairOrder


class FairTurn:
    """A lock that clients hold in turns; for one event loop."""

    def __init__(self) -> None:
        self._waiting: FairOrder[asyncio.Future[None]] = FairOrder()
        self._taken = False

    @asynccontextmanager
    async def hold(self, claim: Claim) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs."""
        if self._taken:
            await self._wait(claim)
        self._taken = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, claim: Claim) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(claim, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.discard(claim, turn)
            else:  # it was given meanwhile, to one who has gone
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while len(self._waiting):
            turn = self._waiting.pop()
            if not turn.done():  # else its task was cancelled just now
                turn.set_result(None)
                return
        self._taken = False
