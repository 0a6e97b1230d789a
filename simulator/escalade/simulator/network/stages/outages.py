"""Outages: nothing comes in until they are over; knows no bandwidth and no delay.

What the link has begun to carry goes through. Modelled, not injected: a stream of bytes waits
while the network is away; that a sender waits longer still, having backed off, is not modelled.
"""

from __future__ import annotations

from collections.abc import Sequence

from escalade.simulator.network.profiles import Cycle
from escalade.simulator.network.stages.conditions import Absences


class Away:
    """Outages by the clock, and by chance: the same ones for both directions."""

    def __init__(
        self, cycles: Sequence[Cycle], absences: Sequence[Absences], begins_s: float
    ) -> None:
        self._cycles = cycles
        self._absences = absences
        self._begins_s = begins_s

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When the network is there again."""
        there_s, before_s = enters_s, -1.0
        while there_s != before_s:  # the end of one may lie within another
            before_s = there_s
            for cycle in self._cycles:
                there_s += cycle.left_s(there_s - self._begins_s)
            for absences in self._absences:
                there_s = absences.back_s(there_s)
        return there_s
