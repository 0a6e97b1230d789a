"""Queries on their way up, a query at a time and all at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from escalade.edge.deferral import defers
from escalade.edge.trace import Trace
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.climb import climb, recorded_thresholds
from escalade.simulator.recorded.tiers import tiers_of


def test_queries_go_up_until_a_gate_lets_an_answer_stand(
    make_cascade: Callable[..., Trace],
) -> None:
    tiers = tiers_of(make_cascade([1, 3, 1], 300))
    thresholds = (0.5, 0.4)
    found = climb(tiers, thresholds)
    for q in range(300):
        place = 0
        while place < 2 and defers(float(tiers[place].score[q]), thresholds[place]):
            place += 1
        assert found.answered_by[q] == place
        assert found.reached[:, q].tolist() == [k <= place for k in range(3)]
    assert set(found.answered_by) == {0, 1, 2}


def test_the_lowest_threshold_sends_every_query_on_and_an_infinite_one_none(
    make_cascade: Callable[..., Trace],
) -> None:
    tiers = tiers_of(make_cascade([1, 1, 1], 5))
    assert climb(tiers, (-math.inf, -math.inf)).answered_by.tolist() == [2] * 5
    assert climb(tiers, (math.inf, -math.inf)).answered_by.tolist() == [0] * 5
    assert climb(tiers, (-math.inf, math.inf)).answered_by.tolist() == [1] * 5


def test_thresholds_that_do_not_fit_the_gates_are_refused(
    make_cascade: Callable[..., Trace],
) -> None:
    trace = make_cascade([1, 1, 1], 2)
    tiers = tiers_of(trace)
    with pytest.raises(SimulatorError, match="must be 2, one after each tier of tier0, .* got 1"):
        climb(tiers, (0.5,))
    with pytest.raises(SimulatorError, match="threshold of tier 'tier1' must be a number; got nan"):
        climb(tiers, (0.5, math.nan))
    infos = trace.header.tiers
    assert recorded_thresholds(infos) == (0.5, 0.5)
    bare = [infos[0], msgspec.structs.replace(infos[1], threshold=None), infos[2]]
    with pytest.raises(SimulatorError, match="after tier 'tier1' was recorded without a threshold"):
        recorded_thresholds(bare)
