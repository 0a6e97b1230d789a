"""The turns that a gateway's clients take at its models; knows no tier."""

from __future__ import annotations

from contextvars import ContextVar

from escalade.cloud.backends import NOBODY, Claim, FairOrder
from escalade.edge.tiers import TurnLock

#: Whose query it is that this thread answers.
CLAIM = ContextVar("CLAIM", default=NOBODY)

# How long a query that waits does not notice that nobody wants it any more.
_NOTICE_S = 0.05


def client_turns() -> TurnLock[Claim]:
    """Turns by the client whose query a thread answers."""
    return TurnLock(FairOrder(), CLAIM.get, notice_s=_NOTICE_S)
