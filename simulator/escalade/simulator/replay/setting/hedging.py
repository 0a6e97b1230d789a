"""A call that is made a second time where no answer has come; knows no trace.

As `edge.wire` hedges where no other address is given: over another connection, to the same server,
which computes a query that it knows once.
"""

from __future__ import annotations

from escalade.simulator.network import Conditions, DelayLine, Profile, answered_s
from escalade.simulator.network.stages import Uniform


def hedged_s(
    profile: Profile,
    rngs: tuple[Uniform, Uniform],
    nbytes: tuple[int, int],
    between_s: float,
    after_s: float,
) -> float:
    """When the first of both answers is back, of a query that is first sent at 0.

    Both go over the device's one network, and meet its outages and its round trips; jitter and
    losses are each one's own.

    Args:
        profile: the network.
        rngs: of the first call, as `DelayLine` draws from it, and of the second.
        nbytes: of a query up and of an answer down.
        between_s: seconds from a query's coming in to the answer.
        after_s: when it is sent again.
    """
    up, down = nbytes
    shared = Conditions.at_any_moment(profile, rngs[0])
    there_s = [
        DelayLine(profile, "up", rng, shared).release_s(sent_s, up)
        for rng, sent_s in zip(rngs, (0.0, after_s), strict=True)
    ]
    done_s = min(there_s) + between_s
    back_s = [
        answered_s(profile, DelayLine(profile, "down", rng, shared), at_s, max(done_s, at_s), down)
        for rng, at_s in zip(rngs, there_s, strict=True)
    ]
    return min(back_s)
