"""Loss, as stalls: a stream of bytes cannot drop packets, so it is modelled and not injected.

A chunk of which a packet was lost, or several, stalls for one retransmission timeout; knows no
bandwidth.
"""

from __future__ import annotations

import math

from escalade.simulator.network.profiles import Bursts
from escalade.simulator.network.stages.stage import Uniform, own_generator

#: TCP payload of one full Ethernet frame: 1500 less 40 (IP, TCP) less 12 (timestamps).
PACKET_BYTES = 1448

#: Linux: RTO = SRTT + max(TCP_RTO_MIN, 4 mdev), TCP_RTO_MIN = 200 ms (include/net/tcp.h);
#: RFC 6298 would wait 1 s.
RTO_MIN_S = 0.2


class Loss:
    """Packets are lost one by one."""

    def __init__(self, loss: float, stall_s: float, rng: Uniform) -> None:
        self._loss = loss
        self._stall_s = stall_s
        self._rng = rng

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When all its packets have come through."""
        if self._rng.random() < share_stalled(self._loss, packets_of(nbytes)):
            return enters_s + self._stall_s
        return enters_s


class BurstLoss:
    """Packets are lost together: a good and a bad state, and how long each lasts (geometric)."""

    def __init__(self, loss: float, bursts: Bursts, stall_s: float, rng: Uniform) -> None:
        self._kept = (1 - loss, 1 - bursts.loss_bad)
        self._leaves = (bursts.to_bad, bursts.to_good)
        self._stall_s = stall_s
        self._rng = own_generator(rng)
        self._state = int(self._rng.random() < bursts.bad)
        self._rest = self._stay()

    def leaves_s(self, enters_s: float, nbytes: int) -> float:
        """When all its packets have come through."""
        kept, packets = 1.0, packets_of(nbytes)
        while packets:
            here = min(packets, self._rest)
            kept *= self._kept[self._state] ** here
            packets -= here
            self._rest -= here
            if not self._rest:
                self._state = 1 - self._state
                self._rest = self._stay()
        return enters_s + self._stall_s if self._rng.random() >= kept else enters_s

    def _stay(self) -> int:
        """How many packets the state lasts, the first included."""
        leave = self._leaves[self._state]
        if leave == 1:
            return 1
        return 1 + int(math.log1p(-self._rng.random()) / math.log1p(-leave))


def share_stalled(loss: float, packets: int) -> float:
    """How likely it is that one of so many packets is lost, each by itself."""
    return 1 - (1 - loss) ** packets


def packets_of(nbytes: int) -> int:
    """How many packets a chunk is; an empty one takes one, too."""
    return max(1, math.ceil(nbytes / PACKET_BYTES))
