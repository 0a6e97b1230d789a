"""What the members of a recorded tier said, as agreements take it; knows no agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from escalade.edge.deferral import Voice
from escalade.edge.trace.schema import MemberAnswer, TierAnswer, TierInfo


def voice_of(answer: MemberAnswer) -> Voice:
    """The voice of a member that has ended; one that failed, or gave NaN, says nothing."""
    if answer.text is None or is_broken(answer.logprobs):
        return Voice(answer.member, None)
    classes = None if answer.classes is msgspec.UNSET else answer.classes
    return Voice(answer.member, answer.text, answer.logprobs, classes)


def is_ensemble(tier: TierInfo) -> bool:
    """Whether its members vote; those of a gateway are its own affair, which asks them in turn."""
    return len(tier.members) > 1 and (tier.place == "device" or tier.side_by_side)


def voices_of(answer: TierAnswer, tier: TierInfo) -> list[Voice] | None:
    """The voices of all members; None where that is not for us to say.

    It is not behind the one link of a gateway, or where some member was stopped or not asked.
    """
    if answer.link is not None or len(answer.members) != len(tier.members):
        return None
    if any(one.text is None and one.failed is msgspec.UNSET for one in answer.members):
        return None
    return [voice_of(one) for one in answer.members]


def weights_of(tier: TierInfo) -> list[float]:
    """The weights of a tier's members, in order."""
    return [member.weight for member in tier.members]


def is_broken(logprobs: Sequence[float]) -> bool:
    """Whether a value is NaN or `inf`, so that nothing is known of the response."""
    return not all(map(math.inf.__gt__, logprobs))  # nothing is below NaN, nor it below anything
