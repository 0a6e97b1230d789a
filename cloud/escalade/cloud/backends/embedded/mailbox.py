"""Carries what a thread says to the event loop; knows no engine."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue with one writer in a thread and one reader in the loop that made it.

    The loop is woken once for all that comes before it looks: a thread that is faster than the
    loop does not pay for a wake-up with each letter.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._letters: deque[T] = deque()
        self._ready = asyncio.Event()
        self._woken = False

    def put(self, letter: T) -> None:
        """Add one; from any thread."""
        self._letters.append(letter)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody reads
                self._loop.call_soon_threadsafe(self._ready.set)

    async def take(self) -> list[T]:
        """Wait for at least one; gives all that are there."""
        taken = list[T]()
        while not taken:
            await self._ready.wait()
            self._ready.clear()
            # Before looking: what is put from here on wakes again.
            self._woken = False
            while self._letters:
                taken.append(self._letters.popleft())
        return taken
