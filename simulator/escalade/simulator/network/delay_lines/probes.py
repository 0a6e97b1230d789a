"""gRPC's own pings, by which it measures a connection's bandwidth; knows no server and no trace.

A server pings when data comes, to learn how much fits into a round trip (BDP), and then not for a
while (C-core's bdp_estimator.cc, chttp2_transport.cc). Such a ping goes ahead of the answer, on the
same stream of bytes: where it stalls, the answer waits behind it. A caller pings too, behind its
request, which its next requests alone would meet; that is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.profiles import Profile

#: A frame's header and 8 bytes (RFC 9113, section 6.7).
PING_BYTES = 17
#: Between two, at first and at most; longer by so much (100 to 200 ms) with every second that finds
#: nothing new, as of calls that are far from filling a round trip.
_FIRST_S, _MOST_S, _LONGER_S = 0.1, 10.0, 0.15


class Probes:
    """Of one end of one connection."""

    def __init__(self, rtt_s: float) -> None:
        """Begin with a connection on which nothing came.

        Args:
            rtt_s: after which a ping is answered.
        """
        self._rtt_s = rtt_s
        self._apart_s = _FIRST_S
        self._stable = 0

    def pings_s(self, came_s: Iterable[float]) -> list[float]:
        """When it pings.

        Args:
            came_s: when data comes, rising.
        """
        pings = list[float]()
        answered_s = next_s = 0.0
        waits, more = True, False  # for data; whether some came since the last was answered
        for at_s in came_s:
            while not waits and next_s <= at_s:
                if more:
                    pings.append(next_s)
                    answered_s, next_s = self._answered(next_s)
                    more = False
                else:
                    waits = True
            if waits:
                pings.append(at_s)
                answered_s, next_s = self._answered(at_s)
                waits = more = False
            elif at_s > answered_s:
                more = True
        return pings

    def _answered(self, at_s: float) -> tuple[float, float]:
        """When a ping is answered, and when the next may follow."""
        answered_s = at_s + self._rtt_s
        if self._apart_s < _MOST_S:
            self._stable += 1
            if self._stable == 2:  # noqa: PLR2004
                self._apart_s, self._stable = self._apart_s + _LONGER_S, 0
        return answered_s, answered_s + self._apart_s


def answered_s(
    profile: Profile, down: DelayLine, came_s: float, leaves_s: float, nbytes: int
) -> float:
    """When an answer is there: behind the ping with which gRPC meets data after a pause.

    A pause is of 0.1 s at first, of 10 s on a connection that is asked often (`Probes`). Where
    nothing is lost a ping holds up nothing, and none is drawn.

    Args:
        profile: the network.
        down: its line, on which nothing is under way.
        came_s: when the request was at the server.
        leaves_s: when the answer leaves it, no earlier.
        nbytes: what that is long.
    """
    if profile.loss or profile.bursts is not None:
        down.release_s(came_s, PING_BYTES)
    return down.release_s(leaves_s, nbytes)
