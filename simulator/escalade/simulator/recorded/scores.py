"""Deferral scores of a tier under any rule; knows no threshold, no metric and no cost."""

from __future__ import annotations

import numpy as np

from escalade.edge.deferral import RULES, DeferralRule, rule_named
from escalade.simulator.errors import SimulatorError, unknown
from escalade.simulator.recorded.tiers import Floats, RecordedTier

#: The rule that reads the score the trace was recorded with.
RECORDED = "recorded"

#: A rule by its name, or any rule under a name of one's own (a router, say).
Rule = str | tuple[str, DeferralRule]


def rule_name(rule: Rule) -> str:
    """What tables and figures call a rule."""
    return rule if isinstance(rule, str) else rule[0]


def scores_of(tier: RecordedTier, rule: Rule = RECORDED) -> Floats:
    """Deferral scores `(N,)`; NaN, which always defers, becomes infinity, which does too.

    Args:
        tier: its recorded scores, or its token log-probabilities under another rule.
        rule: `recorded`, a name `escalade.edge.deferral.rule_named` takes, or (name, rule).

    Raises:
        SimulatorError: no such rule, or it cannot score an answer of the tier.
    """
    if rule == RECORDED or (tier.is_vote and rule == tier.info.rule):
        if unscored := int(np.isnan(tier.score).sum()):
            raise SimulatorError(
                f"{unscored} of {len(tier.score)} answers of tier {tier.info.name!r} were recorded"
                " without a score"
            )
        return tier.score
    function = _resolved(rule)
    if len(tier.info.members) > 1:
        raise SimulatorError(
            f"rule {rule_name(rule)!r} scores one model's answer, and tier {tier.info.name!r} has"
            f" {len(tier.info.members)} members; rule must be {RECORDED} there"
        )
    score = np.empty(len(tier.answers))
    for k, (id_, answer) in enumerate(zip(tier.ids, tier.answers, strict=True)):
        try:
            score[k] = function(answer.members[0].logprobs)
        except ValueError as error:
            raise SimulatorError(
                f"rule {rule_name(rule)!r} cannot score query {id_!r}: {error}"
            ) from error
    return np.where(np.isnan(score), np.inf, score)


def _resolved(rule: Rule) -> DeferralRule:
    if not isinstance(rule, str):
        return rule[1]
    if rule not in RULES and not rule.startswith("quantile:"):
        raise SimulatorError(unknown("rule", rule, [RECORDED, *RULES, "quantile:Q"]))
    try:
        return rule_named(rule)
    except ValueError as error:
        raise SimulatorError(str(error)) from error
