"""Deferral scores: as recorded, recomputed under another rule, and of votes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.curves.curves import deferral_curve
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.scores import Rule, scores_of
from escalade.simulator.recorded.tiers import tiers_of


def test_rules_are_recomputed_from_the_log_probabilities(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace(
        [9.0, 8.0, 7.0],
        [True] * 3,
        [True] * 3,
        logprobs=[[-1.0, -3.0], [-0.5], [-2.0, math.nan]],
    )
    device = tiers_of(trace)[0]
    assert scores_of(device).tolist() == [9.0, 8.0, 7.0]
    assert scores_of(device, "mean").tolist() == [2.0, 0.5, math.inf]
    assert scores_of(device, "min").tolist() == [3.0, 0.5, math.inf]
    assert scores_of(device, "quantile:0.5").tolist() == [2.0, 0.5, math.inf]
    assert scores_of(device, ("tokens", lambda logprobs: float(np.size(logprobs)))).tolist() == [
        2.0,
        1.0,
        2.0,
    ]
    assert deferral_curve(trace, rule="sum").threshold.tolist() == [math.inf, 4.0, 0.5]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_that_is_not_finite_defers_at_every_threshold(
    make_trace: Callable[..., Trace], broken: float
) -> None:
    trace = make_trace([broken, 0.2], [True, True], [False, False], logprobs=[[-math.inf], [-0.2]])
    for rule in ("recorded", "mean", "min"):
        assert scores_of(tiers_of(trace)[0], rule).tolist() == [math.inf, 0.2]


def test_a_vote_is_scored_by_all_members_whatever_was_recorded(
    make_cascade: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_cascade([3, 1], 40)
    device = tiers_of(trace)[0]
    expected = [
        1 - max(map(texts.count, texts)) / 3
        for texts in ([one.text for one in answer.members] for answer in device.answers)
    ]
    assert scores_of(device).tolist() == pytest.approx(expected)
    assert scores_of(device, "vote").tolist() == scores_of(device).tolist()
    bounds = [with_answer(record, 0, score=1.0) for record in trace.records]
    again = tiers_of(trace._replace(records=bounds))[0]
    assert scores_of(again).tolist() == scores_of(device).tolist()


@pytest.mark.parametrize("rule", ["mean", ("mine", lambda logprobs: 0.0)])
def test_a_vote_takes_no_rule_of_one_model(make_cascade: Callable[..., Trace], rule: Rule) -> None:
    with pytest.raises(SimulatorError, match=r"tier 'tier0' has 3 members; rule must be recorded"):
        scores_of(tiers_of(make_cascade([3, 1], 2))[0], rule)


def test_a_rule_that_is_unknown_or_cannot_score_is_named(make_trace: Callable[..., Trace]) -> None:
    device, cloud = tiers_of(make_trace([1.0], [True], [True], logprobs=[[]]))
    for name, near in (("meen", "mean"), ("recordet", "recorded"), ("votes", "")):
        with pytest.raises(SimulatorError, match=rf"one of recorded, mean, .*; got '{name}'") as e:
            scores_of(device, name)
        assert str(e.value).endswith(f"; did you mean {near!r}?" if near else f"{name!r}")
    with pytest.raises(SimulatorError, match=r"Q .* must be a number in \[0, 1\], got '2'"):
        scores_of(device, "quantile:2")
    with pytest.raises(SimulatorError, match=r"rule 'mean' cannot score query 'q0': logprobs must"):
        scores_of(device, "mean")
    with pytest.raises(SimulatorError, match="1 of 1 answers of tier 'cloud' .* without a score"):
        scores_of(cloud)
