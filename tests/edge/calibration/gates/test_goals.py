"""Rates, budgets and qualities of several gates, and what is said where they cannot be had."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.calibration.gates.climb import Sample, climb
from escalade.edge.calibration.gates.goals import for_rates, thresholds_for
from escalade.edge.calibration.thresholds import threshold_for_rate
from escalade.edge.deferral import BudgetGoal, QualityGoal, RatesGoal, WithinGoal
from escalade.edge.errors import CalibrationError

Samples = Callable[..., st.SearchStrategy[Sample]]

rates = st.floats(0, 1)


@settings(deadline=None)
@given(data=st.data())
def test_a_rate_is_of_the_queries_that_come_to_the_gate(
    samples: Samples, data: st.DataObject
) -> None:
    sample = data.draw(samples(2, 20))
    first, second = data.draw(rates), data.draw(rates)
    found = for_rates([first, second], sample)
    assert found[0] == threshold_for_rate(sample.scores[:, 0], first).threshold
    comes = sample.scores[:, 0] >= found[0]
    reaching = sample.scores[comes, 1] if comes.any() else sample.scores[:, 1]
    assert found[1] == threshold_for_rate(reaching, second).threshold
    assert for_rates([first], sample) == for_rates([first, first], sample)


def test_tied_queries_are_deferred_together_at_every_gate() -> None:
    sample = Sample(
        scores=np.array([[1.0, 5.0], [1.0, 5.0], [2.0, 6.0], [2.0, 6.0]]),
        right=None,
        costs=[np.zeros((1, 4))] * 3,
    )
    assert for_rates([0.3, 0.9], sample) == (2.0, 6.0)
    assert for_rates([0.9, 0.3], sample) == (1.0, 6.0)
    for target in (0.0, 1.0):
        answered = climb(sample, for_rates([target], sample)).answered_by
        assert answered.tolist() == [2 * int(target)] * 4


@settings(deadline=None, max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("gates", [1, 2])
def test_goals_are_reached_or_the_best_is_said(
    samples: Samples, reference: Any, gates: int, data: st.DataObject
) -> None:
    sample = data.draw(samples(gates))
    every = [(quality, cost) for _, quality, cost in reference(sample).every()]
    best, least = max(quality for quality, _ in every), min(cost for _, cost in every)
    for target in (best, best / 2):
        found = thresholds_for(QualityGoal(target=target), sample)
        assert found is not None
        quality, cost = reference(sample).does(found)
        assert quality >= target - 1e-9
        assert cost == pytest.approx(min(c for q, c in every if q >= target - 1e-9))
    for most in (least, 2 * least + 1):
        found = thresholds_for(BudgetGoal(most=most), sample)
        assert found is not None
        quality, cost = reference(sample).does(found)
        assert cost <= most + 1e-6
        assert quality == pytest.approx(max(q for q, c in every if c <= most + 1e-9))
    if best < 1:
        with pytest.raises(CalibrationError, match=re.escape(f"the best is {best:.4g}, at")):
            thresholds_for(QualityGoal(target=(best + 1) / 2), sample)
    if least > 0:
        with pytest.raises(CalibrationError, match=re.escape(f"the least is {least:.4g}, at")):
            thresholds_for(BudgetGoal(most=least / 2), sample)


def unjudged() -> Sample:
    return Sample(scores=np.ones((3, 2)), right=None, costs=[np.zeros((1, 3))] * 3)


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (RatesGoal(targets=[0.1, 0.2, 0.3]), "must be 1 for all gates, or 2, one for each; got 3"),
        (RatesGoal(targets=[0.1, 1.2]), r"must be in \[0, 1\], got 1.2"),
        (BudgetGoal(most=1.0), "record the trace from queries with references"),
        (QualityGoal(target=0.5), "record the trace from queries with references"),
        (WithinGoal(epsilon=0.1, delta=0.1), "record the trace from queries with references"),
    ],
)
def test_what_cannot_be_set(goal: Any, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        thresholds_for(goal, unjudged())
