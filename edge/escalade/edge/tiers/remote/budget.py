"""How a query's deadline is split between the links on its way up; knows no tier, no channel."""

from __future__ import annotations

from escalade.edge.errors import CloudError
from escalade.edge.tiers.tier import Call
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason

# Of what is left of a query's deadline, the share that is kept for the way back: a gateway whose
# cloud is silent has to answer with what it has while the device still waits.
_KEPT = 0.1


def link_deadline_s(call: Call, own_s: float, name: str) -> float | None:
    """What a link may take of a query.

    A tier elsewhere may take its own deadline. Where the query has one too, and what is left of it,
    less a tenth for the way back, is not enough for this tier and those elsewhere above it, each
    has the share that its own deadline is of theirs together: so a silent gateway leaves the cloud
    its part. What a tier does not use is for those above.

    Args:
        call: how much is left, and what the tiers above ask for.
        own_s: the tier's own deadline, > 0 seconds.
        name: the tier's, for the message.

    Returns:
        Seconds, > 0; None where the query has no deadline: the tier's own holds then.

    Raises:
        CloudError: no time is left.
    """
    if call.query.deadline_s is None:
        return None
    left_s = (call.query.deadline_s - call.elapsed_s()) * (1.0 - _KEPT)
    if left_s <= 0:
        raise CloudError(
            name_of_reason(pb.ERROR_REASON_DEADLINE_EXCEEDED),
            f"{name}: no time is left of the query's {call.query.deadline_s:g} s",
            cause="link",
        )
    return min(own_s, left_s * own_s / (own_s + call.above_s))
