"""What a network does now and then: outages, spikes, bursts of loss; knows no clock, draws nothing.

Cycles are of the network: all connections over it meet them at the same time. Chance is of a
device: each has outages of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.network.profiles.ranges import Claim, above, at_least

#: From a millisecond to a year, in seconds.
_LEAST_S, _MOST_S = 1e-3, 3.2e7

#: Outages by chance are drawn one by one: shorter ones would be jitter.
_LEAST_CHANCE_S = 0.1

Moments = TypeVar("Moments", float, NDArray[np.float64])


class _Episode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes every now and then and lasts a while."""

    every_s: float
    lasts_s: float

    @property
    def share(self) -> float:
        """Of the time."""
        return self.lasts_s / self.every_s


class _Cycle(_Episode, frozen=True, kw_only=True):
    begins_s: float = 0.0

    def claims(self) -> Iterator[Claim]:
        """What must hold."""
        yield at_least("every_s", self.every_s, _LEAST_S, _MOST_S)
        yield at_least("lasts_s", self.lasts_s, 0, self.every_s)
        yield at_least("begins_s", self.begins_s, 0, self.every_s)

    def left_s(self, at_s: float) -> float:
        """How long what goes on at a moment still lasts, in seconds; 0 where nothing does.

        Args:
            at_s: seconds since the profile began.
        """
        return max(0.0, self.rest_s(at_s))

    def rest_s(self, at_s: Moments) -> Moments:
        """The same, of one moment or an array of them; at most 0 where nothing goes on."""
        return self.lasts_s - (at_s - self.begins_s) % self.every_s


class Cycle(_Cycle, frozen=True, kw_only=True, tag_field="kind", tag="cycle"):
    """An outage by the clock: a handover, hours in which a device stays off a metered network.

    Attributes:
        every_s: from the beginning of one to the beginning of the next.
        lasts_s: how long nothing passes; 0 is none.
        begins_s: when one begins, in seconds since the profile did.
    """


class Chance(_Episode, frozen=True, kw_only=True, tag_field="kind", tag="chance"):
    """Outages that come by chance: lifts, tunnels. Both times are exponential.

    Attributes:
        every_s: mean from the beginning of one to the beginning of the next.
        lasts_s: mean time that nothing passes.
    """

    def claims(self) -> Iterator[Claim]:
        """What must hold."""
        yield at_least("every_s", self.every_s, _LEAST_CHANCE_S, _MOST_S)
        yield Claim(
            "lasts_s", self.lasts_s, f"0 < lasts_s < {self.every_s:g}",
            0 < self.lasts_s < self.every_s,
        )  # fmt: skip


Outage = Cycle | Chance


class Spike(_Cycle, frozen=True, kw_only=True):
    """Round trips that are longer for a while, by the clock: a satellite is left for the next.

    Attributes:
        every_s: from the beginning of one to the beginning of the next.
        lasts_s: how long.
        extra_rtt_ms: by how much, half of it each way.
        begins_s: when one begins, in seconds since the profile did.
    """

    extra_rtt_ms: float

    def claims(self) -> Iterator[Claim]:
        """As for a cycle, and how high."""
        yield from super().claims()
        yield at_least("extra_rtt_ms", self.extra_rtt_ms, 0, 3.6e6)


class Bursts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Losses that come together (Gilbert 1960, Elliott 1963): a good state and a bad one.

    The profile's `loss` is that of the good state.

    Attributes:
        to_bad: probability that the packet after one in the good state is in the bad one.
        to_good: the other way; a burst is `1 / to_good` packets long on average.
        loss_bad: probability that a packet in the bad state is lost.
    """

    to_bad: float
    to_good: float
    loss_bad: float

    def claims(self) -> Iterator[Claim]:
        """What must hold."""
        yield above("to_bad", self.to_bad, 0, 1)
        yield above("to_good", self.to_good, 0, 1)
        yield at_least("loss_bad", self.loss_bad, 0, 1)

    @property
    def bad(self) -> float:
        """Share of the packets that are in the bad state."""
        return self.to_bad / (self.to_bad + self.to_good)
