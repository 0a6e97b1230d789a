"""What is under way, and whether anything new is taken; knows no request, no gRPC."""

from __future__ import annotations

import asyncio

from escalade.cloud.backends import Ticket
from escalade.cloud.errors import DrainingError


class Drain:
    """Counts what is under way, so that a server can end when it is done."""

    def __init__(self) -> None:
        self._draining = False
        self._under_way = 0
        self._interruptible: set[Ticket] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        """Take nothing new, and cancel what may be cut short."""
        self._draining = True
        for ticket in self._interruptible:
            ticket.cancel()

    def refuse_new(self) -> None:
        """Return where new work is taken.

        Raises:
            DrainingError: the server is shutting down.
        """
        if self._draining:
            raise DrainingError

    def begin(self, interruptible: Ticket | None = None) -> None:
        """Be waited for until `end`, with the same argument.

        Args:
            interruptible: cancelled when the drain starts; None lets the work go on to its end.
        """
        self._under_way += 1
        self._idle.clear()
        if interruptible is not None:
            self._interruptible.add(interruptible)

    def end(self, interruptible: Ticket | None = None) -> None:
        """Be waited for no more."""
        if interruptible is not None:
            self._interruptible.discard(interruptible)
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is under way."""
        await self._idle.wait()
