"""Answers and deferral scores of a trace, checked; knows no metric, no cost and no threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import RULES, DeferralRule, rule_named
from escalade.edge.trace import LargeAnswer, Trace
from escalade.simulator.errors import SimulatorError, unknown

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: The rule that reads the score the trace was recorded with.
RECORDED = "recorded"

#: A rule by its name, or any rule under a name of one's own (a router, say).
Rule = str | tuple[str, DeferralRule]


def large_answers(trace: Trace) -> list[LargeAnswer]:
    """The large model's answer to every query.

    Raises:
        SimulatorError: some queries were never put to the large model, or some of the device's
            answers are half ones.
    """
    check_finished(trace)
    answers = [record.large for record in trace.records if record.large is not None]
    if lacking := len(trace.records) - len(answers):
        raise SimulatorError(
            f"{lacking} of {len(trace.records)} records lack the large model's answer, and a"
            " replay needs both answers to every query; record them with `escalade record`"
        )
    return answers


def check_finished(trace: Trace) -> None:
    """Refuse half answers: their scores are bounds, their texts and times are cut.

    Raises:
        SimulatorError: generation was stopped early for some queries.
    """
    if stopped := sum(record.small.stopped_early for record in trace.records):
        raise SimulatorError(
            f"{stopped} of {len(trace.records)} of the device's answers were not finished (early"
            " deferral), and a replay needs whole ones; record them with `escalade record`"
        )


def answered(name: str, trace: Trace, notes: list[str]) -> Trace:
    """The queries that the cloud answered; notes how many it did not, unless that is all.

    Raises:
        SimulatorError: generation was stopped early for some queries.
    """
    check_finished(trace)
    records = [record for record in trace.records if record.large is not None]
    if not records or len(records) == len(trace.records):
        return trace
    notes.append(
        f"{name}: {len(trace.records) - len(records)} of {len(trace.records)} queries have no"
        " answer from the cloud and are left out"
    )
    return Trace(trace.header, records)


def rule_name(rule: Rule) -> str:
    """What tables and figures call a rule."""
    return rule if isinstance(rule, str) else rule[0]


def scores_of(trace: Trace, rule: Rule = RECORDED) -> Floats:
    """Deferral scores `(N,)`; NaN, which always defers, becomes infinity, which does too.

    Args:
        trace: its recorded scores, or its token log-probabilities under another rule.
        rule: `recorded`, a name `escalade.edge.deferral.rule_named` takes, or (name, rule).

    Raises:
        SimulatorError: no such rule, it cannot score a response of the trace, or some are half
            ones.
    """
    check_finished(trace)
    if rule == RECORDED:
        score = np.array([record.score for record in trace.records], dtype=np.float64)
    else:
        function = _resolved(rule)
        score = np.empty(len(trace.records))
        for k, record in enumerate(trace.records):
            try:
                score[k] = function(record.small.logprobs)
            except ValueError as error:
                raise SimulatorError(
                    f"rule {rule_name(rule)!r} cannot score query {record.id!r}: {error}"
                ) from error
    return np.where(np.isnan(score), np.inf, score)


def _resolved(rule: Rule) -> DeferralRule:
    if not isinstance(rule, str):
        return rule[1]
    if rule not in RULES and not rule.startswith("quantile:"):
        raise unknown("rule", rule, [RECORDED, *RULES, "quantile:Q"])
    try:
        return rule_named(rule)
    except ValueError as error:
        raise SimulatorError(str(error)) from error
