"""The delay lines of all connections over one network, which may be changed; knows no socket.

What a connection meets is keyed by the seed, its number and how often the network was changed: it
depends on no other connection, and on no thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.profiles import Profile
from escalade.simulator.network.stages import Conditions


class Lines(NamedTuple):
    """Both directions of one connection."""

    up: DelayLine
    down: DelayLine


class Laying:
    """Lays the lines of connections, each of its own."""

    def __init__(self, profile: Profile, seed: int, now: Callable[[], float]) -> None:
        """Begin the profile's cycles and traces.

        Args:
            profile: the network.
            seed: of what chance does.
            now: seconds on the clock that the lines are asked on.
        """
        self._seed = seed
        self._now = now
        self._changes = -1
        self.change(profile)

    def change(self, profile: Profile) -> None:
        """Lay lines of another network from now on; its cycles and traces begin now."""
        self._changes += 1
        self.profile = profile
        self._begins_s = self._now() if profile.period_s else 0.0

    def lay(self, connection: int, before: Lines | None = None) -> Lines:
        """Lines of the network as it is now.

        Args:
            connection: its number, from 1.
            before: what it had so far: nothing overtakes what those have taken in.
        """
        key = f"{self._seed}/{connection}"
        # Of a network that was never changed the same as ever.
        more = f"/{self._changes}" if self._changes else ""

        def rng(whose: str) -> random.Random:
            return random.Random(f"{key}/{whose}{more}")  # noqa: S311 - a simulation, no secret

        shared = Conditions(self.profile, rng("both"), begins_s=self._begins_s)
        lines = Lines(
            DelayLine(self.profile, "up", rng("up"), shared),
            DelayLine(self.profile, "down", rng("down"), shared),
        )
        if before is not None:
            lines.up.follow(before.up)
            lines.down.follow(before.down)
        return lines
