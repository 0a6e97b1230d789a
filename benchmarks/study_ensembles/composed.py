"""Groups of a pool's members as tiers of a trace, by any agreement; knows no threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from escalade.edge.deferral import VOTE, agreement_named
from escalade.edge.trace import TierAnswer, TierInfo, Trace, TraceRecord, is_correct, voice_of


class Group(NamedTuple):
    """Members that are one tier, and what they agree by."""

    name: str
    members: tuple[str, ...]
    rule: str = VOTE
    #: Of their voices; empty: all have one.
    weights: tuple[float, ...] = ()
    side_by_side: bool = False

    @property
    def voices(self) -> tuple[float, ...]:
        """The weight of each."""
        return self.weights or (1.0,) * len(self.members)


def composed(pool: Trace, groups: Sequence[Group], places: Mapping[str, int]) -> Trace:
    """A trace whose tiers are groups of the pool's members, that agree where they are several.

    Args:
        pool: a tier for each member.
        groups: of members, by the names of their tiers.
        places: of those tiers in the pool.
    """
    header = msgspec.structs.replace(
        pool.header,
        tiers=[
            TierInfo(
                name=group.name,
                place="device",
                members=[
                    msgspec.structs.replace(
                        pool.header.tiers[places[member]].members[0], weight=weight
                    )
                    for member, weight in zip(group.members, group.voices, strict=True)
                ],
                rule=group.rule if len(group.members) > 1 else "mean",
                threshold=0.0,
                side_by_side=group.side_by_side,
            )
            for group in groups
        ],
    )
    records = [
        msgspec.structs.replace(
            record,
            tiers=[
                _agreed(group, [record.tiers[places[one]] for one in group.members], record)
                for group in groups
            ],
        )
        for record in pool.records
    ]
    return Trace(header, records)


def _agreed(group: Group, answers: Sequence[TierAnswer | None], record: TraceRecord) -> TierAnswer:
    said = [answer for answer in answers if answer is not None]
    if len(said) == 1:
        score = said[0].score
        return msgspec.structs.replace(said[0], score=0.0 if score is None else score)
    members = [
        msgspec.structs.replace(answer.members[0], member=place)
        for place, answer in enumerate(said)
    ]
    voices = [voice_of(one) for one in members]
    winner, score = agreement_named(group.rule).outcome(voices, group.voices)
    return TierAnswer(
        text=said[winner].text,
        members=members,
        score=score,
        correct=is_correct(said[winner].text, record.references),
        seconds=max(answer.seconds for answer in said),
    )
