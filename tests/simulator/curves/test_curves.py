"""Deferral curves against brute force, and what can be read off them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.deferral import defers
from escalade.edge.trace import TierAnswer, Trace, TraceRecord
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.curves import (
    area_under_curve,
    cost_at_quality,
    deferral_curve,
    quality_at_deferral_rate,
)
from escalade.simulator.curves.split import split_at
from escalade.simulator.curves.sweep import DeferralCurve, Sweep, oracle
from escalade.simulator.errors import SimulatorError

# Few distinct scores, so that ties are the rule.
QUERIES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
)


def brute_force(trace: Trace, tau: float) -> dict[str, float]:
    """Equations 4, 6 and 9, a query at a time."""
    n = len(trace.records)
    rate = a1 = a2 = flops = 0.0
    small, large = (2 * tier.members[0].parameters for tier in trace.header.tiers)
    for record in trace.records:
        device, cloud = record.tiers
        assert device is not None
        assert cloud is not None
        assert device.score is not None
        flops += small * tokens(device) / n
        if defers(device.score, tau):
            rate += 1 / n
            a2 += bool(cloud.correct) / n
            flops += large * tokens(cloud) / n
        else:
            a1 += bool(device.correct) / n
    return {
        "deferral_rate": rate,
        "a1": a1,
        "a2": a2,
        "quality": a1 + a2,
        "flops_per_query": flops,
        "flops_per_token": small + rate * large,
    }


def tokens(answer: TierAnswer) -> int:
    return sum(one.prompt_tokens + one.generated_tokens for one in answer.members)


@given(queries=QUERIES)
def test_curve_is_the_brute_force_sweep_over_every_threshold(
    make_trace: Callable[..., Trace], queries: list[tuple[float, bool, bool]]
) -> None:
    trace = make_trace(*zip(*queries, strict=True))
    curve = deferral_curve(trace)
    by_query = deferral_curve(trace, cost="flops_per_query")
    distinct = sorted({score for score, _, _ in queries}, reverse=True)
    assert curve.threshold.tolist() == [math.inf, *distinct]
    for k, tau in enumerate(curve.threshold):
        expected = brute_force(trace, tau)
        for name in ("deferral_rate", "a1", "a2", "quality"):
            found = getattr(curve, name)[k]
            assert found == pytest.approx(expected[name], rel=1e-12, abs=1e-12), (name, tau)
        assert curve.cost[k] == pytest.approx(expected["flops_per_token"], rel=1e-12)
        assert by_query.cost[k] == pytest.approx(expected["flops_per_query"], rel=1e-12)


@given(queries=QUERIES)
def test_curve_ends_at_either_model_alone_and_rises_in_between(
    make_trace: Callable[..., Trace], queries: list[tuple[float, bool, bool]]
) -> None:
    trace = make_trace(*zip(*queries, strict=True))
    curve = deferral_curve(trace)
    _, small, large = (np.array(column) for column in zip(*queries, strict=True))
    assert curve.deferral_rate[0] == 0
    assert curve.deferral_rate[-1] == 1
    assert curve.quality[0] == pytest.approx(small.mean())
    assert curve.quality[-1] == pytest.approx(large.mean())
    assert curve.a2[0] == 0
    assert curve.a1[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(curve.deferral_rate) > 0).all()
    assert (np.diff(curve.cost) > 0).all()
    assert (np.diff(curve.a1) <= 1e-12).all()
    assert (np.diff(curve.a2) >= 0).all()
    np.testing.assert_allclose(curve.a1 + curve.a2, curve.quality)


def test_nan_score_is_deferred_at_every_threshold(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([math.nan, 0.2], [True, True], [False, False])
    curve = deferral_curve(trace)
    assert curve.deferral_rate.tolist() == [0.5, 1.0]
    assert curve.threshold.tolist() == [math.inf, 0.2]


@pytest.fixture
def four(make_trace: Callable[..., Trace]) -> Trace:
    """Deferring q1 (0.9) helps, q0 (0.7) changes nothing, q2 (0.2) helps, q3 (0.1) harms."""
    return make_trace(
        [0.7, 0.9, 0.2, 0.1], [True, False, False, True], [True, True, True, False], threshold=0.7
    )


@pytest.fixture
def curve(four: Trace) -> DeferralCurve:
    return deferral_curve(four)


def test_points_between_thresholds_are_interpolated(four: Trace, curve: DeferralCurve) -> None:
    assert curve.quality.tolist() == [0.5, 0.75, 0.75, 1.0, 0.75]
    assert quality_at_deferral_rate(curve, 0.125) == pytest.approx(0.625)
    # C_S = 200, C_L = 2000: 700 FLOPs per token defer a quarter.
    assert curve.cost.tolist() == [200, 700, 1200, 1700, 2200]
    at_random = Sweep.of(columns_of(split_at(four))).ends()
    assert at_random.quality(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.5, 0.625, 0.75])
    assert at_random.mean_from(0.0) == pytest.approx(0.625)
    assert area_under_curve(curve) == pytest.approx((0.625 + 0.75 + 0.875 + 0.875) / 4)


def test_cheapest_cost_of_a_quality(curve: DeferralCurve) -> None:
    assert cost_at_quality(curve, 0.4) == 200
    assert cost_at_quality(curve, 0.625) == pytest.approx(450)
    assert cost_at_quality(curve, 0.75) == pytest.approx(700)
    assert cost_at_quality(curve, 1.0) == pytest.approx(1700)
    assert cost_at_quality(curve, 1.01) is None


def test_asking_outside_the_curve_names_its_range(curve: DeferralCurve) -> None:
    with pytest.raises(SimulatorError, match=r"deferral_rate must be in \[0, 1\]; got 1.5"):
        quality_at_deferral_rate(curve, 1.5)


@given(queries=QUERIES, data=st.data())
def test_a_resampled_curve_is_the_curve_of_the_drawn_queries(
    make_trace: Callable[..., Trace],
    queries: list[tuple[float, bool, bool]],
    data: st.DataObject,
) -> None:
    n = len(queries)
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    trace = make_trace(*zip(*queries, strict=True))
    drawn = np.bincount(places, minlength=n).astype(np.int32)
    columns = columns_of(split_at(trace), cost="flops_per_query")
    found = Sweep.of(columns).curve(drawn)
    expected = Sweep.of(columns.take(np.array(places))).curve()
    # Thresholds of queries nobody drew change nothing: their points double another.
    kept = [k for k, tau in enumerate(found.threshold) if tau in expected.threshold]
    for name in ("threshold", "deferral_rate", "cost", "quality"):
        np.testing.assert_allclose(getattr(found, name)[kept], getattr(expected, name), rtol=1e-12)
    assert area_under_curve(found) == pytest.approx(area_under_curve(expected))


@given(queries=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_no_choice_of_queries_beats_the_oracle_and_random_is_their_mean(
    make_trace: Callable[..., Trace], queries: list[tuple[bool, bool]]
) -> None:
    n = len(queries)
    columns = columns_of(split_at(make_trace([0.0] * n, *zip(*queries, strict=True))))
    best, at_random = Sweep.of(oracle(columns)).curve(), Sweep.of(columns).ends()
    for k in range(n + 1):
        reached = [
            sum(large if q in chosen else small for q, (small, large) in enumerate(queries)) / n
            for chosen in itertools.combinations(range(n), k)
        ]
        assert quality_at_deferral_rate(best, k / n) == pytest.approx(max(reached))
        assert at_random.quality(np.array([k / n])) == pytest.approx([np.mean(reached)])


def test_the_area_holds_the_quality_of_queries_that_always_defer_at_lower_rates(
    make_trace: Callable[..., Trace],
) -> None:
    trace = make_trace([math.nan, 0.3, 0.1, 0.2], [True, False, True, True], [False, True] * 2)
    curve = deferral_curve(trace)
    assert curve.deferral_rate.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.quality.tolist() == [0.5, 0.75, 0.75, 0.5]
    assert area_under_curve(curve) == pytest.approx((0.5 + 0.625 + 0.75 + 0.625) / 4)
    at_random = Sweep.of(columns_of(split_at(trace))).ends()
    assert at_random.quality(np.array([0.25, 1.0])) == pytest.approx([0.6875, 0.5])
    assert at_random.mean_from(0.25) == pytest.approx(0.25 * 0.6875 + 0.75 * (0.6875 + 0.5) / 2)
    assert at_random.mean_from(1.0) == pytest.approx(0.5)
    nothing_else = make_trace([math.nan], [True], [False])
    assert area_under_curve(deferral_curve(nothing_else)) == 0.0


def test_missing_large_answers_say_how_many_and_what_to_run(
    four: Trace, without_answer: Callable[..., TraceRecord]
) -> None:
    records = [without_answer(record, 1) for record in four.records[:3]]
    trace = four._replace(records=[*records, four.records[3]])
    with pytest.raises(SimulatorError, match=r"3 of 4 records lack .* `escalade record`"):
        deferral_curve(trace)


def test_missing_references_are_named(four: Trace, with_answer: Callable[..., TraceRecord]) -> None:
    unjudged = with_answer(four.records[0], 0, correct=None)
    with pytest.raises(SimulatorError, match="1 of 4 records have no references"):
        deferral_curve(four._replace(records=[unjudged, *four.records[1:]]))
