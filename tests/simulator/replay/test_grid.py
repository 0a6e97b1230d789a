"""Many thresholds at once, against one replay after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.recorded.costs import COSTS
from escalade.simulator.replay.grid import replay_grid
from escalade.simulator.replay.replay import latency_of, replay

LTE = Network(get_profile("lte"))


def test_a_grid_is_one_replay_after_the_other(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([3, 2, 1], 60, linked=[False, False, True])
    pairs = np.random.default_rng(0).uniform(-0.1, 1.1, (20, 2)).tolist()
    pairs += [[-math.inf, math.inf], [1 / 3, 0.5], [math.inf, 0.0]]
    grid = replay_grid(trace, LTE, pairs, cost="money", seed=4)
    for k, pair in enumerate(pairs):
        run = replay(trace, LTE, pair, seed=4)
        tables = [tier.at_levels(COSTS["money"]) for tier in run.course.tiers]
        latency = latency_of(run.cascade_s)
        assert grid.thresholds[k].tolist() == pair
        assert grid.asked[k] == pytest.approx(run.climb.reached.mean(axis=1))
        for place in range(3):
            assert grid.answered[k, place] == pytest.approx((run.answered_by == place).mean())
        assert grid.accuracy[k] == pytest.approx(run.accuracy)
        assert grid.cost[k] == pytest.approx(run.climb.spent(tables).mean())
        assert [grid.p50_s[k], grid.p95_s[k], grid.mean_s[k]] == pytest.approx(
            [latency.p50_s, latency.p95_s, latency.mean_s]
        )
    assert len({tuple(row) for row in grid.answered.tolist()}) > 5


def test_a_trace_without_references_has_no_accuracy(
    make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True])
    unjudged = [with_answer(record, 0, correct=None) for record in trace.records]
    grid = replay_grid(trace._replace(records=unjudged), LTE, [[0.5]])
    assert grid.accuracy is None
    assert grid.answered.tolist() == [[0.5, 0.5]]


def test_a_grid_says_what_is_missing_or_wrong(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.1, 0.9], [True, False], [True, True])
    with pytest.raises(SimulatorError, match="needs the price of at least 1 member"):
        replay_grid(trace, LTE, [[0.5]], cost="money")
    with pytest.raises(SimulatorError, match="thresholds must be 1, .* got 2"):
        replay_grid(trace, LTE, [[0.5, 0.5]])
    with pytest.raises(SimulatorError, match="threshold of tier 'device' must be a number; got na"):
        replay_grid(trace, LTE, [[0.5], [math.nan]])
