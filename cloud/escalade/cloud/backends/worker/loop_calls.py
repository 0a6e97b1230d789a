"""Calls into the event loop from a thread; knows no engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class LoopCalls:
    """`call_soon_threadsafe`, but that many calls wake the loop once.

    What comes before the loop looks is all called when it looks. With 16 clients of an engine that
    does nothing, waking it for each is 3 % of the server's time.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def add(self, call: Callable[[], None]) -> None:
        """Have something called in the loop, in order; from any thread."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and nobody listens
                self._loop.call_soon_threadsafe(self._make)

    def _make(self) -> None:
        # Before looking: what is added from here on wakes again.
        self._woken = False
        while self._calls:
            self._calls.popleft()()
