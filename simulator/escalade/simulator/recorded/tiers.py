"""The tiers of a recorded cascade as columns; knows no threshold, no cost and no network.

How many members of an ensemble answer a query depends on its threshold, but only by levels
(`asked_of`): whatever a tier takes is a table with a row for each level, and a tier that
always asks all of its members has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import (
    EMBEDDING,
    Agreement,
    Voice,
    Vote,
    agreement_named,
    asked_of,
    reads_logprobs,
)
from escalade.edge.trace import (
    MemberAnswer,
    TierAnswer,
    TierInfo,
    Trace,
    TraceRecord,
    latency_s,
    links_of,
    voice_of,
    voices_of,
    weights_of,
)
from escalade.simulator.errors import SimulatorError
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
        asked: `(V, N)` how many members answer at each level; side by side all have begun.
        ended: N, the answers with their members in the order in which they end.
        waited: `(V, N)` for how many of those the decision waits.
        beside_s: `(N,)` of the first tier, seconds that the query took at its caller's and that are
            no tier's; of the others 0.
    """

    info: TierInfo
    ids: list[str]
    answers: list[TierAnswer]
    score: Floats
    levels: Floats
    asked: NDArray[np.intp]
    ended: list[TierAnswer]
    waited: NDArray[np.intp]
    beside_s: Floats

    @property
    def is_vote(self) -> bool:
        """Whether members vote, so that there is no other rule to score them by."""
        return len(self.info.members) > 1 and self.info.rule is not None

    def level(self, threshold: float) -> int:
        """The level of a threshold."""
        return int(np.searchsorted(self.levels, threshold))

    def at_levels(self, value: Value) -> Floats:
        """A number of each answer, of the members that are asked: `(V, N)`."""
        return self._of(value, self.answers, self.asked)

    def until_decided(self, value: Value) -> Floats:
        """The same of the members that the decision waits for, as seconds are."""
        return self._of(value, self.ended, self.waited)

    def _of(self, value: Value, answers: list[TierAnswer], members: NDArray[np.intp]) -> Floats:
        rows: list[list[float]] = []
        below: list[int] = []
        for asked in members.tolist():
            if not rows:
                each = zip(answers, asked, strict=True)
                rows.append([value(_cut(one, many), self.info) for one, many in each])
            else:  # as much as one level below, of those that ask as many
                each_above = zip(answers, asked, below, rows[-1], strict=True)
                rows.append(
                    [
                        same if many == before else value(_cut(one, many), self.info)
                        for one, many, before, same in each_above
                    ]
                )
            below = asked
        return np.array(rows, dtype=np.float64)

    def take(self, places: NDArray[np.intp]) -> RecordedTier:
        """These queries only, in this order."""
        return replace(
            self,
            ids=[self.ids[place] for place in places],
            answers=[self.answers[place] for place in places],
            score=self.score[places],
            asked=self.asked[:, places],
            ended=[self.ended[place] for place in places],
            waited=self.waited[:, places],
            beside_s=self.beside_s[places],
        )


def tiers_of(trace: Trace) -> list[RecordedTier]:
    """Every tier of a trace recorded in shadow mode, the first first.

    Raises:
        SimulatorError: some queries were never put to a tier, or some answers are half ones.
    """
    check_answered(trace)
    last = len(trace.header.tiers) - 1
    ids = [record.id for record in trace.records]
    beside_s = np.array([_beside_s(record) for record in trace.records])
    return [
        _recorded(
            info,
            ids,
            beside_s if k == 0 else np.zeros_like(beside_s),
            [answer for record in trace.records if (answer := record.tiers[k]) is not None],
            is_last=k == last,
        )
        for k, info in enumerate(trace.header.tiers)
    ]


def _beside_s(record: TraceRecord) -> float:
    """What a query took that no tier did: its text was read, answers were put together."""
    came_to = record.tiers[: record.answered_by + 1]
    return max(0.0, record.total_s - sum(one.seconds for one in came_to if one is not None))


def _recorded(
    info: TierInfo,
    ids: list[str],
    beside_s: Floats,
    answers: list[TierAnswer],
    *,
    is_last: bool,
) -> RecordedTier:
    score = np.array([_score(answer) for answer in answers], dtype=np.float64)
    levels = np.empty(0)
    asked = np.array([[len(answer.members) for answer in answers]], dtype=np.intp)
    ended = waited = None
    voices = _voices(info, answers)
    if voices is not None and (info.rule is not None or is_last):
        agreement, weights = _agreement(info), weights_of(info)
        try:
            if info.rule is not None:
                score = np.array([agreement.outcome(said, weights).score for said in voices])
            ended = _by_end(info, answers)
            in_turn = voices if ended is None else [_voices_of(one) for one in ended]
            levels, waited = asked_of(
                agreement,
                in_turn,
                weights,
                side_by_side=info.side_by_side and ended is None,
                gated=not is_last,
                threshold=info.threshold,
            )
            asked = np.full_like(waited, len(info.members)) if info.side_by_side else waited
        except ValueError as error:
            raise SimulatorError(f"tier {info.name!r}: {error}") from error
    return RecordedTier(
        info=info,
        ids=ids,
        answers=answers,
        score=score,
        levels=levels,
        asked=asked,
        ended=answers if ended is None else ended,
        waited=asked if waited is None else waited,
        beside_s=beside_s,
    )


def _by_end(info: TierInfo, answers: list[TierAnswer]) -> list[TierAnswer] | None:
    """Answers with members in the order in which they end, side by side on one machine.

    None of others: members elsewhere end as their networks have it, and all count.
    """
    if not info.side_by_side or any(links_of(one) for one in answers):
        return None
    drafted = not reads_logprobs(info.rule)

    def ends_s(one: MemberAnswer) -> float:
        return latency_s([one], side_by_side=True, drafted=drafted)

    return [
        msgspec.structs.replace(one, members=sorted(one.members, key=ends_s)) for one in answers
    ]


def _voices_of(answer: TierAnswer) -> list[Voice]:
    return [voice_of(one) for one in answer.members]


def _agreement(info: TierInfo) -> Agreement:
    """What the members of a tier agreed by."""
    try:
        return Vote() if info.rule is None else agreement_named(info.rule)
    except ValueError as error:
        raise SimulatorError(f"tier {info.name!r}: {error}") from error


def _voices(info: TierInfo, answers: list[TierAnswer]) -> list[list[Voice]] | None:
    """What all members said to each query; None where it is not for us to say who is asked."""
    # An embedding's encoder is no part of a trace: the scores are those that were recorded, and all
    # members count as asked.
    if len(info.members) == 1 or info.rule == EMBEDDING:
        return None
    voices = [voices_of(answer, info) for answer in answers]
    known = [one for one in voices if one is not None]
    return known if len(known) == len(voices) else None


def _score(answer: TierAnswer) -> float:
    """NaN of an answer without a score; infinite of one whose score is NaN, which defers too."""
    if answer.score is None:
        return float("nan")
    return float("inf") if np.isnan(answer.score) else answer.score


def _cut(answer: TierAnswer, members: int) -> TierAnswer:
    if members == len(answer.members):
        return answer
    return msgspec.structs.replace(answer, members=answer.members[:members])
