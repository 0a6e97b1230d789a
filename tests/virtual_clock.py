"""A clock on which time passes where a test says so, or where somebody sleeps, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class VirtualClock:
    """The edge's `Clock`; seconds are exact where they are sums of quarters."""

    at_s: float = 0.0

    def now_s(self) -> float:
        return self.at_s

    def sleep_s(self, seconds: float) -> None:
        self.at_s += seconds
