"""The time the live proxy runs on; knows no profile and no socket.

Tests inject a virtual clock; live traffic takes `LiveClock`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

#: The end of a wait that is spun rather than slept. asyncio on epoll rounds a sleep up to
#: 1 ms (cpython #106751: 10 us asked, 1148 us got) and a loaded machine adds to it; a
#: yield-spin errs by 1-5 us.
SPIN_S = 2e-3


class Clock(Protocol):
    """Seconds since any fixed moment, and a way to wait for one."""

    def now(self) -> float:
        """The time, in seconds; never decreases."""
        ...

    async def wait_until(self, when_s: float) -> None:
        """Return once `now()` is `when_s` or later; at once if it already is."""
        ...


class LiveClock:
    """The machine's monotonic clock: sleeps until just before the moment, then spins.

    The spin yields to the event loop on every turn, so other connections go on; it costs
    up to `SPIN_S` of one core for each wait.
    """

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    async def wait_until(self, when_s: float) -> None:
        """Return within microseconds after `when_s` on an idle core."""
        rest_s = when_s - time.monotonic()
        if rest_s > SPIN_S:
            await asyncio.sleep(rest_s - SPIN_S)
        while time.monotonic() < when_s:
            await asyncio.sleep(0)
