"""The time that calls wait on, a thread each; knows no call."""

from __future__ import annotations

import time
from threading import Event
from typing import Protocol

#: The end of a wait that is spun rather than slept: a sleep errs by 80-150 us on an idle machine.
_SPIN_S = 5e-4


class ThreadClock(Protocol):
    """Seconds since any fixed moment, and a way for a thread to wait for one."""

    def now(self) -> float:
        """The time, in seconds; never decreases."""
        ...

    def wait_until(self, when_s: float, given_up: Event) -> None:
        """Return once `now()` is `when_s` or later, or the event is set."""
        ...


class LiveThreadClock:
    """The machine's monotonic clock: sleeps until just before the moment, then spins."""

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def wait_until(self, when_s: float, given_up: Event) -> None:
        """Return within microseconds after `when_s` on an idle core."""
        rest_s = when_s - time.monotonic()
        if rest_s > _SPIN_S:
            given_up.wait(rest_s - _SPIN_S)
        while time.monotonic() < when_s and not given_up.is_set():
            time.sleep(0)
