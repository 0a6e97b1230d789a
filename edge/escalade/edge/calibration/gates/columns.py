"""What one tier said to every query, as scores, rights and costs; knows no file and no goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.calibration.gates.climb import Floats
from escalade.edge.deferral import (
    CostUnit,
    DeferralRule,
    Gate,
    asked_at_levels,
    asked_until_settled,
    vote_levels,
    vote_share,
)
from escalade.edge.errors import CalibrationError
from escalade.edge.trace import (
    MemberAnswer,
    TierAnswer,
    TierInfo,
    flops_of,
    is_correct,
    money_of,
)


class Column(NamedTuple):
    """One tier of a `Sample`: scores `(n,)`, rights `(n,)`, costs `(V, n)`, levels `(V - 1,)`."""

    #: Empty of the last tier.
    scores: list[float]
    right: list[bool | None]
    costs: Floats
    levels: Floats


def column_of(
    info: TierInfo,
    gate: Gate | None,
    answers: Sequence[TierAnswer],
    references: Sequence[Sequence[str]],
    unit: CostUnit,
) -> Column:
    """The column of a tier.

    Args:
        info: who answered, at what prices.
        gate: the one after the tier; None after the last.
        answers: n, whole, of all members where they vote.
        references: what counts as right, of the same queries.
        unit: what a cost is counted in.

    Raises:
        CalibrationError: an answer cannot be scored by the gate's rule, or its score is not finite.
    """
    whole = [len(answer.members) for answer in answers]
    if info.place != "device" or len(info.members) == 1:
        return Column(
            [] if gate is None else [_score(info, gate, answer) for answer in answers],
            [answer.correct for answer in answers],
            np.array([_costs(info, gate, answers, whole, unit)]),
            np.empty(0),
        )
    votes = [[str(one.text) for one in answer.members] for answer in answers]
    winners = [vote_share(texts) for texts in votes]
    # Of members side by side all may have begun before any has answered: all are charged.
    asked, levels = [whole], tuple[float, ...]()
    if not info.side_by_side and gate is None:
        asked = [[asked_until_settled(texts) for texts in votes]]
    elif not info.side_by_side:
        levels = vote_levels(len(info.members))
        asked = [list(one) for one in zip(*map(asked_at_levels, votes), strict=True)]
    return Column(
        [] if gate is None else [winner.score for winner in winners],
        [is_correct(winner.text, right) for winner, right in zip(winners, references, strict=True)],
        np.array([_costs(info, gate, answers, one, unit) for one in asked]),
        np.array(levels, dtype=np.float64),
    )


def _costs(
    info: TierInfo,
    gate: Gate | None,
    answers: Sequence[TierAnswer],
    asked: Sequence[int],
    unit: CostUnit,
) -> list[float]:
    """What each answer costs where so many members are asked, all of them counted."""
    if unit == "calls":
        return [float(gate is None)] * len(answers)
    if not info.members:  # `ask --trace` has begun it while a tier elsewhere was silent
        raise CalibrationError(
            f"the trace does not say which models tier {info.name!r} has; use one of"
            " `escalade record`"
        )
    of = flops_of if unit == "flops" else money_of
    return [
        sum(of(one, info.members[one.member]) for one in answer.members[:members])
        for answer, members in zip(answers, asked, strict=True)
    ]


def _score(info: TierInfo, gate: Gate, answer: TierAnswer) -> float:
    """A score under the gate's rule; as recorded where that rule gave it and no more is known."""
    assert isinstance(gate.rule, DeferralRule)  # noqa: S101 - a vote takes several members
    score = _by_rule(gate.rule, answer.members)
    if score is None and info.rule == gate.rule.name:
        score = answer.score
    if score is None:
        raise CalibrationError(
            f"an answer of tier {info.name!r} has no log-probabilities to score by rule"
            f" {gate.rule.name!r}, and was recorded under {info.rule!r}; record it again"
        )
    if not np.isfinite(score):
        raise CalibrationError(
            f"a score of tier {info.name!r} is not finite; the model gives NaN or infinity"
        )
    return score


def _by_rule(rule: DeferralRule, members: Sequence[MemberAnswer]) -> float | None:
    return rule(members[0].logprobs) if len(members) == 1 and members[0].logprobs else None
