"""The tiers of a recorded cascade as columns; knows no threshold, no cost and no network.

How many members of an ensemble answer a query depends on its threshold, but only by levels
(`vote_levels`): whatever a tier takes is a table with a row for each level, and a tier that
always asks all of its members has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import (
    VOTE,
    asked_at_levels,
    asked_until_settled,
    vote_levels,
    vote_share,
)
from escalade.edge.trace import TierAnswer, TierInfo, Trace
from escalade.simulator.recorded.shadow import check_answered

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: A number of a tier's answer, as that of its members that were asked.
Value = Callable[[TierAnswer, TierInfo], float]


@dataclass(frozen=True)
class RecordedTier:
    """What one tier said to N queries.

    Attributes:
        info: who it is.
        ids: N, of the queries.
        answers: N, each with all members.
        score: `(N,)` as recorded: infinite where the query defers at every threshold, NaN where
            there is none.
        levels: `(V - 1,)` rising: thresholds up to and with the k-th, and above the one before,
            are of level k.
        asked: `(V, N)` how many members answer at each level.
    """

    info: TierInfo
    ids: list[str]
    answers: list[TierAnswer]
    score: Floats
    levels: Floats
    asked: NDArray[np.intp]

    @property
    def is_vote(self) -> bool:
        """Whether members vote, so that there is no other rule to score them by."""
        return len(self.info.members) > 1 and self.info.rule == VOTE

    def level(self, threshold: float) -> int:
        """The level of a threshold."""
        return int(np.searchsorted(self.levels, threshold))

    def at_levels(self, value: Value) -> Floats:
        """A number of each answer, of the members that are asked: `(V, N)`."""
        table = np.empty(self.asked.shape)
        for k, (answer, asked) in enumerate(zip(self.answers, self.asked.T.tolist(), strict=True)):
            known: dict[int, float] = {}
            for level, members in enumerate(asked):
                if members not in known:
                    known[members] = value(_cut(answer, members), self.info)
                table[level, k] = known[members]
        return table

    def take(self, places: NDArray[np.intp]) -> RecordedTier:
        """These queries only, in this order."""
        return replace(
            self,
            ids=[self.ids[place] for place in places],
            answers=[self.answers[place] for place in places],
            score=self.score[places],
            asked=self.asked[:, places],
        )


def tiers_of(trace: Trace) -> list[RecordedTier]:
    """Every tier of a trace recorded in shadow mode, the first first.

    Raises:
        SimulatorError: some queries were never put to a tier, or some answers are half ones.
    """
    check_answered(trace)
    last = len(trace.header.tiers) - 1
    ids = [record.id for record in trace.records]
    return [
        _recorded(
            info,
            ids,
            [answer for record in trace.records if (answer := record.tiers[k]) is not None],
            is_last=k == last,
        )
        for k, info in enumerate(trace.header.tiers)
    ]


def _recorded(
    info: TierInfo, ids: list[str], answers: list[TierAnswer], *, is_last: bool
) -> RecordedTier:
    score = np.array([_score(answer) for answer in answers], dtype=np.float64)
    levels: tuple[float, ...] = ()
    asked = [[len(answer.members)] for answer in answers]
    texts = [_texts(answer) for answer in answers]
    votes = [one for one in texts if one is not None and len(one) == len(info.members) > 1]
    if len(votes) == len(answers) and (info.rule == VOTE or is_last):
        if info.rule == VOTE:
            score = np.array([vote_share(said).score for said in votes], dtype=np.float64)
        # Of members side by side all may have begun before any has answered: all are charged.
        if not info.side_by_side:
            if is_last:
                asked = [[asked_until_settled(said)] for said in votes]
            else:
                levels = vote_levels(len(info.members))
                asked = [list(asked_at_levels(said)) for said in votes]
    return RecordedTier(
        info=info,
        ids=ids,
        answers=answers,
        score=score,
        levels=np.array(levels, dtype=np.float64),
        asked=np.array(asked, dtype=np.intp).T,
    )


def _score(answer: TierAnswer) -> float:
    """NaN of an answer without a score; infinite of one whose score is NaN, which defers too."""
    if answer.score is None:
        return float("nan")
    return float("inf") if np.isnan(answer.score) else answer.score


def _texts(answer: TierAnswer) -> list[str] | None:
    """What the members said; None behind a link, where it is not for us to say who is asked."""
    texts = [member.text for member in answer.members if member.text is not None]
    return texts if answer.link is None and len(texts) == len(answer.members) else None


def _cut(answer: TierAnswer, members: int) -> TierAnswer:
    if members == len(answer.members):
        return answer
    return msgspec.structs.replace(answer, members=answer.members[:members])
