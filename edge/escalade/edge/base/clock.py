"""Time as the device sees it, so that tests can pass one that jumps; knows nothing else."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds, and a way to let them pass."""

    def now_s(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Return when that many seconds have passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds of the monotonic performance counter."""
        return time.perf_counter()

    def sleep_s(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)
