"""Many thresholds at once, against one replay after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.recorded.costs import COSTS
from escalade.simulator.replay.grid import replay_grid
from escalade.simulator.replay.grid.sweeping import swept_quantiles
from escalade.simulator.replay.latency import latency_of
from escalade.simulator.replay.replay import replay

LTE = Network(get_profile("lte"))


@pytest.mark.parametrize("members", [[3, 2, 1], [3, 1], [1, 1]])
def test_a_grid_is_one_replay_after_the_other(
    make_cascade: Callable[..., Trace], members: list[int]
) -> None:
    gates = len(members) - 1
    trace = make_cascade(members, 60, linked=[False] * gates + [True])
    pairs = np.random.default_rng(0).uniform(-0.1, 1.1, (20, gates)).tolist()
    ends = [[-math.inf, math.inf], [1 / 3, 0.5], [math.inf, 0.0]]
    pairs += [one[:gates] for one in ends]
    pairs += [[one] for one in (0.0, 2 / 3)] if gates == 1 else []
    grid = replay_grid(trace, LTE, pairs, cost="money", seed=4)
    for k, pair in enumerate(pairs):
        run = replay(trace, LTE, pair, seed=4)
        tables = [tier.at_levels(COSTS["money"]) for tier in run.course.tiers]
        latency = latency_of(run.cascade_s)
        assert grid.thresholds[k].tolist() == pair
        assert grid.asked[k] == pytest.approx(run.climb.reached.mean(axis=1))
        for place in range(len(members)):
            assert grid.answered[k, place] == pytest.approx((run.answered_by == place).mean())
        assert grid.accuracy[k] == pytest.approx(run.accuracy)
        assert grid.cost[k] == pytest.approx(run.climb.spent(tables).mean())
        assert [grid.p50_s[k], grid.p95_s[k], grid.mean_s[k]] == pytest.approx(
            [latency.p50_s, latency.p95_s, latency.mean_s]
        )
    assert len({tuple(row) for row in grid.answered.tolist()}) > (5 if members != [3, 1] else 3)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_swept_quantiles_are_numpys(queries: int, seed: int, digits: int) -> None:
    draw = np.random.default_rng(seed)
    # Of few digits, so that there are ties.
    below, above = (draw.random(queries).round(digits) for _ in range(2))
    deferred = np.sort(draw.integers(0, queries + 1, 7))
    shares = (0.0, 0.5, 0.95, 1.0)
    found = swept_quantiles(below, above, deferred, shares)
    for row, count in zip(found, deferred.tolist(), strict=True):
        times = np.concatenate([above[:count], below[count:]])
        assert row == pytest.approx(np.quantile(times, shares), abs=1e-12)


def test_quantiles_of_many_blocks_of_ranks_are_numpys() -> None:
    draw = np.random.default_rng(3)
    below, above = draw.random(5000), 1.0 + draw.random(5000)
    deferred = np.array([0, 1, 700, 700, 2500, 4999, 5000])
    found = swept_quantiles(below, above, deferred, (0.05, 0.5, 0.95))
    for row, count in zip(found, deferred.tolist(), strict=True):
        times = np.concatenate([above[:count], below[count:]])
        assert row == pytest.approx(np.quantile(times, (0.05, 0.5, 0.95)), abs=1e-12)


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
