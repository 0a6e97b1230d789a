"""Carries deltas from an engine's thread to the event loop; knows no engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from escalade.cloud.backends.query import Delta


class Mailbox:
    """A queue with one writer in a thread and one reader in the loop that made it.

    The loop is woken once for all that comes before it looks: an engine that is faster than the
    loop does not pay for a wake-up with each token.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deltas: deque[Delta] = deque()
        self._ready = asyncio.Event()
        self._woken = False
        self._closed = False

    def put(self, delta: Delta) -> None:
        """Add one; from any thread."""
        self._deltas.append(delta)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody reads
                self._loop.call_soon_threadsafe(self._ready.set)

    def close(self) -> None:
        """End the iteration once it is empty; from the loop."""
        self._closed = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """What comes, until it is closed."""
        while not (self._closed and not self._deltas):
            await self._ready.wait()
            self._ready.clear()
            # Before looking: what is put from here on wakes again.
            self._woken = False
            while self._deltas:
                yield self._deltas.popleft()
