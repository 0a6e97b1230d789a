"""A query that stays, told as every tier's failure is; knows no rule."""

from __future__ import annotations

from escalade.edge.errors import PolicyError
from escalade.edge.policy.rules import Block
from escalade.v1.quoting import one_line


def stays(tier: str, blocked: Block) -> PolicyError:
    """The failure. What may pass is of the link: an outbox asks again."""
    return PolicyError(
        blocked.reason,
        f"{tier}: not sent: {one_line(blocked.said)}",
        cause="link" if blocked.may_pass else "query",
    )
