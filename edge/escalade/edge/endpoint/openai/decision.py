"""How an answer came about, for the field `escalade` and the headers; knows no socket, no model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from escalade.edge.answer import Answer
from escalade.edge.cascade import Cascade
from escalade.edge.deferral import Gate
from escalade.edge.tiers import Said, Tier
from escalade.edge.trace import TierAnswer

#: Before the names of all headers of ours.
PREFIX = "x-escalade-"
# Of a reason in a header, which proxies bound.
_LONGEST = 300
#: Of a decision, what has a header.
DECIDED = ("tier", "place", "outcome", "score", "threshold", "rule", "reason", "blocked")


def decision(answer: Answer, cascade: Cascade) -> dict[str, object]:
    """Which tier answered, and why; what is not known or does not apply is null."""
    return {
        "tier": answer.tier,
        "place": answer.given_at,
        "outcome": answer.outcome,
        "score": finite(answer.score),
        "threshold": finite(answer.threshold),
        "rule": answer.rule,
        "would_defer": answer.would_defer,
        "reason": answer.reason,
        "blocked": answer.blocked,
        "seconds": answer.total_s,
        "kept": answer.kept,
        "not_kept": answer.outbox_error,
        "not_traced": answer.trace_error,
        "tiers": [
            None if said is None else _tier(tier, gate, said)
            for tier, gate, said in zip(cascade.tiers, cascade.gates, answer.tiers, strict=True)
        ],
    }


def deferred(tier: Tier, gate: Gate | None, said: Said) -> dict[str, object]:
    """What is known where a tier's answer does not stand, before the next one's is there."""
    return {
        "event": "deferred",
        "tier": tier.name,
        "place": tier.place,
        "score": finite(said.answer.score),
        "threshold": None if gate is None else finite(gate.threshold),
        "rule": None if gate is None else gate.rule.name,
    }


def headers_of(decisions: Sequence[dict[str, object]]) -> list[tuple[bytes, bytes]]:
    """The same for HTTP; of several choices one value each, in order."""
    found = []
    for name in DECIDED:
        values = [one[name] for one in decisions]
        if any(value is not None for value in values):
            shown = ", ".join(_plain("" if value is None else str(value)) for value in values)
            found.append(((PREFIX + name).encode(), shown.encode("ascii")))
    return found


def finite(number: float | None) -> float | None:
    """What JSON has a number for: a score of NaN or an infinity is null."""
    return number if number is None or math.isfinite(number) else None


def _tier(tier: Tier, gate: Gate | None, said: TierAnswer) -> dict[str, object]:
    return {
        "tier": tier.name,
        "place": tier.place,
        "score": finite(said.score),
        "threshold": None if gate is None else finite(gate.threshold),
        "rule": None if gate is None else gate.rule.name,
        "seconds": said.seconds,
        "prompt_tokens": sum(one.prompt_tokens for one in said.members),
        "completion_tokens": sum(one.generated_tokens for one in said.members),
        "stopped_early": said.stopped_early,
    }


def _plain(text: str) -> str:
    """One line of ASCII: what a header may hold."""
    line = " ".join(text.split())[:_LONGEST]
    return "".join(c if " " <= c <= "~" else "?" for c in line)
