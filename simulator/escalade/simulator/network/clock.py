"""The time the live proxy runs on; knows no profile and no socket.

Tests inject a virtual clock; live traffic takes `LiveClock`, best on a `FineLoop`.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
import time
from typing import Protocol

#: The end of a wait that is spun rather than slept, on asyncio's own loop: on epoll it rounds a
#: sleep up to 1 ms (cpython #106751: 10 us asked, 1148 us got) and a loaded machine adds to it; a
#: yield-spin errs by 1-5 us.
SPIN_S = 2e-3
#: And on a `FineLoop`: a sleep of a millisecond at most errs by 80-150 us on an idle machine.
FINE_SPIN_S = 1.5e-4
# Linux lets a sleep be late by 0.1 % of it, a nice process's by 0.5 % (fs/select.c,
# __estimate_accuracy): a long one is to end sooner by more than that, and the rest is slept again.
_SOONER = 0.01
# A processor that slept for milliseconds wakes later than one that slept for less than one: waits
# of 10 ms ended 50 us after their moment, of 1 ms 1 us (`escalade simulate clock`, idle). So the
# last of these is slept by itself.
_NAP_S = 1e-3
# Of select, in all of glibc's headers (FD_SETSIZE).
_MOST_DESCRIPTORS = 1024


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

    The spin yields to the event loop on every turn, so other connections go on. It costs a core's
    time, which servers on the same machine would have: on a `FineLoop` less than a tenth of that.
    """

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    async def wait_until(self, when_s: float) -> None:
        """Return within microseconds after `when_s` on an idle core."""
        loop = asyncio.get_running_loop()
        fine = isinstance(loop, FineLoop) and loop.is_fine
        spin_s = FINE_SPIN_S if fine else SPIN_S
        while (rest_s := when_s - time.monotonic()) > spin_s:
            nap_s = _NAP_S if rest_s > 2 * _NAP_S else 0.0
            await asyncio.sleep(rest_s - max(spin_s, nap_s, _SOONER * rest_s))
        while time.monotonic() < when_s:
            await asyncio.sleep(0)


class FineLoop(asyncio.SelectorEventLoop):
    """An event loop that sleeps to the microsecond where asyncio's rounds up to the millisecond.

    Not so one that is opened beside a thousand files: select takes no descriptor so high.

    Attributes:
        is_fine: whether it does; else it sleeps as asyncio's.
    """

    def __init__(self) -> None:
        """Open its selector."""
        selector = _FineSelector()
        super().__init__(selector)
        self.is_fine = selector.is_fine


if sys.platform == "linux":

    class _FineSelector(selectors.EpollSelector):
        """Waits for epoll by select, whose timeout is in microseconds."""

        def __init__(self) -> None:
            super().__init__()
            self.is_fine = self.fileno() < _MOST_DESCRIPTORS

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0 and self.is_fine:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0.0
            return super().select(timeout)

else:

    class _FineSelector(selectors.DefaultSelector):
        """Is kqueue's, whose timeout is in nanoseconds."""

        is_fine = True
