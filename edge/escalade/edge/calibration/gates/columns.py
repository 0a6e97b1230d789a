"""What one tier said to every query, as scores, rights and costs; knows no file and no goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.calibration.gates.climb import Floats
from escalade.edge.deferral import (
    Agreement,
    CostUnit,
    DeferralRule,
    Gate,
    Vote,
    asked_of,
)
from escalade.edge.errors import CalibrationError
from escalade.edge.trace import (
    MemberAnswer,
    TierAnswer,
    TierInfo,
    flops_of,
    is_correct,
    is_ensemble,
    money_of,
    voice_of,
    weights_of,
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
    *,
    last: bool,
) -> Column:
    """The column of a tier.

    Args:
        info: who answered, at what prices.
        gate: the one after the tier; None after the last, or one that says who wins.
        answers: n, whole, of all members where they vote.
        references: what counts as right, of the same queries.
        unit: what a cost is counted in.
        last: whether no tier is above.

    Raises:
        CalibrationError: an answer cannot be scored by the gate's rule, or its score is not finite.
    """
    whole = [len(answer.members) for answer in answers]
    if not is_ensemble(info):
        return Column(
            [] if gate is None else [_score(info, gate, answer) for answer in answers],
            [answer.correct for answer in answers],
            np.array([_costs(info, answers, whole, unit, last=last)]),
            np.empty(0),
        )
    agreement = Vote() if gate is None else gate.rule
    assert isinstance(agreement, Agreement)  # noqa: S101 - other rules are of one member
    weights = weights_of(info)
    voices = [[voice_of(one) for one in answer.members] for answer in answers]
    ends = [agreement.outcome(said, weights) for said in voices]
    texts = [
        str(answer.members[end.winner].text) for answer, end in zip(answers, ends, strict=True)
    ]
    levels, asked = asked_of(
        agreement,
        voices,
        weights,
        side_by_side=info.side_by_side,
        gated=not last,
        threshold=None if gate is None else gate.threshold,
    )
    return Column(
        [] if gate is None else [end.score for end in ends],
        [is_correct(text, right) for text, right in zip(texts, references, strict=True)],
        np.array([_costs(info, answers, one, unit, last=last) for one in asked.tolist()]),
        levels,
    )


def _costs(
    info: TierInfo,
    answers: Sequence[TierAnswer],
    asked: Sequence[int],
    unit: CostUnit,
    *,
    last: bool,
) -> list[float]:
    """What each answer costs where so many members are asked, all of them counted."""
    if unit == "calls":
        return [float(last)] * len(answers)
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
    assert isinstance(gate.rule, DeferralRule)  # noqa: S101 - agreement takes several members
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
