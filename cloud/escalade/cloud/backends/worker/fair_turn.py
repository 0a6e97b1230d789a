"""So many at a time, and clients in turns; knows no worker, no thread.

`asyncio.Semaphore` is first come, first served: who asks for much would have most of the turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from escalade.cloud.backends.fair_order import Claim, FairOrder


class FairTurn:
    """A semaphore that clients hold in turns; for one event loop.

    Args:
        turns: that may be held at one time, at least 1.
    """

    def __init__(self, turns: int = 1) -> None:
        self._waiting: FairOrder[asyncio.Future[None]] = FairOrder()
        self._free = turns

    @asynccontextmanager
    async def hold(self, claim: Claim) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs."""
        await self.take(claim)
        try:
            yield
        finally:
            self.hand_on()

    async def take(self, claim: Claim) -> None:
        """Wait for a turn; it is held until `hand_on`."""
        if not self.take_free():
            await self._wait(claim)

    def take_free(self) -> bool:
        """Take a turn where there is one at once."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def _wait(self, claim: Claim) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(claim, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.discard(claim, turn)
            else:  # it was given meanwhile, to one who has gone
                self.hand_on()
            raise

    def hand_on(self) -> None:
        """Give up a turn: it is the next client's."""
        while len(self._waiting):
            turn = self._waiting.pop()
            if not turn.done():  # else its task was cancelled just now
                turn.set_result(None)
                return
        self._free += 1
