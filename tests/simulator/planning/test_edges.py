"""Traces and goals from which nothing can be told, and those that are only just enough."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest

from escalade.edge.trace import Trace
from escalade.simulator.errors import PlanError
from escalade.simulator.network import Network, Profile, get_profile
from escalade.simulator.planning import Goal, make_plan

LTE = Network(get_profile("lte"))
MakeTrace = Callable[..., Trace]


def test_what_a_trace_cannot_tell_is_refused(trace: Trace, make_trace: MakeTrace) -> None:
    with pytest.raises(PlanError, match="at least 1 bound"):
        Goal()
    with pytest.raises(PlanError, match="money_a_day needs queries_a_day"):
        Goal(money_a_day=1.0)
    with pytest.raises(PlanError, match="choices must be >= 2; got 1"):
        make_plan(trace, [LTE], Goal(calls=0.5), choices=1)
    with pytest.raises(PlanError, match="seed must be >= 0; got -1"):
        make_plan(trace, [LTE], Goal(calls=0.5), seed=-1)
    with pytest.raises(PlanError, match="at least 40 queries, .* the trace has 30"):
        make_plan(trace._replace(records=trace.records[:30]), [LTE], Goal(calls=0.5))
    free = make_trace([0.5] * 50, [True] * 50, [True] * 50)
    with pytest.raises(PlanError, match="money_a_day needs the price of at least 1 member"):
        make_plan(free, [LTE], Goal(money_a_day=1.0, queries_a_day=10.0))
    never = make_trace([0.5] * 50, [True] * 50, [False] * 50)
    with pytest.raises(PlanError, match="quality needs judged answers .* one of the last tier's"):
        make_plan(never, [LTE], Goal(quality=0.9))


def test_a_last_tier_that_is_right_in_one_half_alone_has_no_quality(make_trace: MakeTrace) -> None:
    """Whichever half it is: by one thresholds are chosen, by the other confirmed."""
    once = make_trace([0.5] * 50, [True] * 50, [True] + [False] * 49)
    for seed in range(4):
        with pytest.raises(PlanError, match="and in each half of them one of the last tier's"):
            make_plan(once, [LTE], Goal(quality=0.9), seed=seed)


def test_draws_in_which_the_last_tier_has_no_right_answer_are_of_no_quality(
    make_trace: MakeTrace,
) -> None:
    """Else an interval has no end, and a warning is said."""
    seldom = make_trace([0.5] * 50, [True] * 50, [k in {1, 20, 30, 45} for k in range(50)])
    found = make_plan(seldom, [LTE], Goal(quality=0.9))
    (figure,) = (bound.found for bound in found.bounds)
    assert figure.low <= figure.value <= figure.high < 26


def test_the_largest_score_that_there_is_has_a_threshold_that_can_be_kept(
    make_trace: MakeTrace,
) -> None:
    most = sys.float_info.max
    found = make_plan(
        make_trace([most, 0.1] * 25, [True] * 50, [True] * 50), [LTE], Goal(calls=0.6)
    )
    assert found.met
    assert found.thresholds[0] <= most


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        ({"money_a_day": 5e-324, "queries_a_day": 1e18}, "query's money must be above 0 .* got 0"),
        ({"money_a_day": 1.0, "queries_a_day": 1e19}, "queries_a_day must be in .*18]; got 1e.19"),
        ({"money_a_day": 1e300, "queries_a_day": 1e-300}, "money must be .* finite; got inf"),
        (
            {"battery_share": 1.0, "queries_a_device": 1e-308, "battery_wh": 15.0},
            "joules must be .* finite; got inf",
        ),
    ],
)
def test_a_bound_of_a_day_that_is_none_of_a_query_is_refused(
    goal: dict[str, float], says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        Goal(**goal)  # type: ignore[arg-type]


def test_scores_that_are_no_numbers_defer_under_every_threshold(make_trace: MakeTrace) -> None:
    found = make_plan(make_trace([math.nan] * 50, [True] * 50, [True] * 50), [LTE], Goal(calls=0.5))
    assert (found.met, found.figures[0].calls.value) == (False, 1.0)


def test_a_price_that_one_network_lacks_is_named(make_trace: MakeTrace) -> None:
    trace = make_trace([0.1, 0.9] * 25, [True] * 50, [True] * 50)
    priced = Network(Profile(name="priced", rtt_ms=10, price_per_gb=1, source="test"))
    goal = Goal(money_a_day=1.0, queries_a_day=1000.0)
    assert make_plan(trace, [priced], goal).figures[0].money is not None
    with pytest.raises(PlanError, match="money_a_day needs the price .* on network 'lte'"):
        make_plan(trace, [priced, LTE], goal)
