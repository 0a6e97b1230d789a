"""Deferral curves against brute force, and what can be read off them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.deferral.rules import defers
from escalade.edge.trace.trace import Trace
from escalade.simulator.curves.answers import scores_of
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.compare import paired_difference
from escalade.simulator.curves.costs import COSTS, CostModel, token_prices
from escalade.simulator.curves.curves import (
    area_under_curve,
    cost_at_quality,
    deferral_curve,
    quality_at_cost,
    quality_at_deferral_rate,
)
from escalade.simulator.curves.points import at_threshold, by_task
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
    small, large = trace.header.small, trace.header.large
    assert large is not None
    for record in trace.records:
        assert record.large is not None
        tokens = record.small.prompt_tokens + record.small.generated_tokens
        flops += 2 * small.parameters * tokens / n
        if defers(record.score, tau):
            rate += 1 / n
            a2 += bool(record.large.correct) / n
            tokens = record.large.prompt_tokens + record.large.generated_tokens
            flops += 2 * large.parameters * tokens / n
        else:
            a1 += bool(record.small.correct) / n
    return {
        "deferral_rate": rate,
        "a1": a1,
        "a2": a2,
        "quality": a1 + a2,
        "flops_per_query": flops,
        "flops_per_token": 2 * small.parameters + rate * 2 * large.parameters,
    }


@given(queries=QUERIES)
def test_curve_is_the_brute_force_sweep_over_every_threshold(
    make_trace: Callable[..., Trace], queries: list[tuple[float, bool, bool]]
) -> None:
    trace = make_trace(*zip(*queries, strict=True))
    curve = deferral_curve(trace)
    by_query = deferral_curve(trace, cost="flops_per_query")
    distinct = sorted({record.score for record in trace.records}, reverse=True)
    assert curve.threshold.tolist() == [math.inf, *distinct]
    for k, tau in enumerate(curve.threshold):
        expected = brute_force(trace, tau)
        point = at_threshold(trace, tau)
        for name, value in expected.items():
            assert getattr(point, name) == pytest.approx(value, rel=1e-12, abs=1e-12), (name, tau)
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
    assert at_threshold(trace, math.inf).deferral_rate == 0.5


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
    assert quality_at_cost(curve, 700) == pytest.approx(0.75)
    assert quality_at_cost(curve, 450) == pytest.approx(0.625)
    at_random = Sweep.of(columns_of(four)).ends()
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
    with pytest.raises(SimulatorError, match=r"cost must be in \[200, 2200\]; got 100"):
        quality_at_cost(curve, 100)


def test_by_task_at_the_traces_threshold_and_at_another(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace(
        [0.9, 0.1, 0.1, 0.1, 0.1], [False] * 4 + [True], [True] * 4 + [False], threshold=0.5
    )
    tasks = by_task(trace)
    assert list(tasks) == ["g2p", "p2g", "stress", "syllables"]
    g2p = tasks["g2p"]  # queries 0 and 4
    assert (g2p.queries, g2p.small_accuracy, g2p.large_accuracy) == (2, 0.5, 0.5)
    assert (g2p.cascade_accuracy, g2p.deferral_rate) == (1.0, 0.5)
    assert (tasks["p2g"].cascade_accuracy, tasks["p2g"].deferral_rate) == (0.0, 0.0)
    assert by_task(trace, 0.1)["p2g"].cascade_accuracy == 1.0


def test_missing_large_answers_say_how_many_and_what_to_run(four: Trace) -> None:
    records = [msgspec.structs.replace(record, large=None) for record in four.records[:3]]
    trace = four._replace(records=[*records, four.records[3]])
    with pytest.raises(SimulatorError, match=r"3 of 4 records lack .* `escalade record`"):
        deferral_curve(trace)


def test_missing_references_and_models_are_named(four: Trace) -> None:
    unjudged = msgspec.structs.replace(
        four.records[0], small=msgspec.structs.replace(four.records[0].small, correct=None)
    )
    with pytest.raises(SimulatorError, match="1 of 4 records have no references"):
        deferral_curve(four._replace(records=[unjudged, *four.records[1:]]))
    headless = msgspec.structs.replace(four.header, large=None)
    with pytest.raises(SimulatorError, match="names no large model"):
        deferral_curve(four._replace(header=headless))
    weightless = msgspec.structs.replace(four.header.small, parameters=0)
    with pytest.raises(SimulatorError, match=r"'small': parameters must be >= 1; got 0"):
        deferral_curve(four._replace(header=msgspec.structs.replace(four.header, small=weightless)))


def test_difference_of_a_trace_and_itself_is_zero_whatever_the_order(
    realistic_trace: Trace,
) -> None:
    shuffled = realistic_trace._replace(records=realistic_trace.records[::-1])
    result = paired_difference(realistic_trace, shuffled, deferral_rate=0.3, resamples=20, seed=0)
    assert result.difference == pytest.approx(0)
    # The same ids are drawn for both, so no resample differs either: the pairing is real.
    assert [result.low, result.high] == pytest.approx([0, 0])


def test_difference_at_equal_flops_reads_both_curves_and_covers_the_estimate(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    flops = 5e6
    result = paired_difference(
        better_trace, realistic_trace, flops_per_token=flops, resamples=300, seed=3
    )
    assert result.quality_a == pytest.approx(quality_at_cost(deferral_curve(better_trace), flops))
    assert result.quality_b == pytest.approx(
        quality_at_cost(deferral_curve(realistic_trace), flops)
    )
    assert result.difference == pytest.approx(result.quality_a - result.quality_b)
    assert 0 < result.low < result.difference < result.high < 0.2
    again = paired_difference(
        better_trace, realistic_trace, flops_per_token=flops, resamples=300, seed=3
    )
    assert again == result
    other = paired_difference(
        better_trace, realistic_trace, flops_per_token=flops, resamples=300, seed=4
    )
    assert other.low != result.low


def test_interval_without_deferral_matches_the_normal_one(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    """At rate 0 the difference is a plain paired mean, whose interval is known."""
    result = paired_difference(
        better_trace, realistic_trace, deferral_rate=0.0, resamples=2000, seed=0
    )
    pairs = zip(better_trace.records, realistic_trace.records, strict=True)
    steps = np.array([bool(a.small.correct) - bool(b.small.correct) for a, b in pairs])
    half = 1.96 * steps.std() / math.sqrt(len(steps))
    assert result.difference == pytest.approx(steps.mean())
    assert result.low == pytest.approx(steps.mean() - half, abs=0.15 * half)
    assert result.high == pytest.approx(steps.mean() + half, abs=0.15 * half)


def test_paired_difference_refuses_what_it_cannot_pair(four: Trace, realistic_trace: Trace) -> None:
    with pytest.raises(SimulatorError, match="996 of 1000 are in one only"):
        paired_difference(realistic_trace, four, deferral_rate=0.5)
    with pytest.raises(SimulatorError, match="one of deferral_rate and flops_per_token"):
        paired_difference(four, four)
    with pytest.raises(SimulatorError, match=r"deferral_rate must be in \[0, 1\]; got -0.1"):
        paired_difference(four, four, deferral_rate=-0.1)
    with pytest.raises(SimulatorError, match=r"in \[200, 2200\] .* got 10"):
        paired_difference(four, four, flops_per_token=10)
    with pytest.raises(SimulatorError, match="resamples must be >= 1; got 0"):
        paired_difference(four, four, deferral_rate=0.5, resamples=0)


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
    columns = columns_of(trace, cost="flops_per_query")
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
    columns = columns_of(make_trace([0.0] * n, *zip(*queries, strict=True)))
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
    at_random = Sweep.of(columns_of(trace)).ends()
    assert at_random.quality(np.array([0.25, 1.0])) == pytest.approx([0.6875, 0.5])
    assert at_random.mean_from(0.25) == pytest.approx(0.25 * 0.6875 + 0.75 * (0.6875 + 0.5) / 2)
    assert at_random.mean_from(1.0) == pytest.approx(0.5)
    nothing_else = make_trace([math.nan], [True], [False])
    assert area_under_curve(deferral_curve(nothing_else)) == 0.0


def test_rules_are_recomputed_from_the_log_probabilities(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace(
        [9.0, 8.0, 7.0],
        [True] * 3,
        [True] * 3,
        logprobs=[[-1.0, -3.0], [-0.5], [-2.0, math.nan]],
    )
    assert scores_of(trace).tolist() == [9.0, 8.0, 7.0]
    assert scores_of(trace, "mean").tolist() == [2.0, 0.5, math.inf]
    assert scores_of(trace, "min").tolist() == [3.0, 0.5, math.inf]
    assert scores_of(trace, "quantile:0.5").tolist() == [2.0, 0.5, math.inf]
    assert scores_of(trace, ("tokens", lambda logprobs: float(np.size(logprobs)))).tolist() == [
        2.0,
        1.0,
        2.0,
    ]
    assert deferral_curve(trace, rule="sum").threshold.tolist() == [math.inf, 4.0, 0.5]


def test_a_rule_that_is_unknown_or_cannot_score_is_named(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([1.0], [True], [True], logprobs=[[]])
    with pytest.raises(SimulatorError, match=r"rule 'meen' is unknown; the nearest is 'mean'; kn"):
        scores_of(trace, "meen")
    with pytest.raises(SimulatorError, match=r"'recordet' .* nearest is 'recorded'"):
        scores_of(trace, "recordet")
    with pytest.raises(SimulatorError, match=r"Q .* must be a number in \[0, 1\], got '2'"):
        scores_of(trace, "quantile:2")
    with pytest.raises(SimulatorError, match=r"rule 'mean' cannot score query 'q0': logprobs must"):
        scores_of(trace, "mean")


def test_every_cost_model_charges_equation_6(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9, 0.1], [True, True], [True, True])
    a, b = trace.records
    assert a.large is not None
    assert b.large is not None
    tokens = {
        "small": [r.small.prompt_tokens + r.small.generated_tokens for r in (a, b)],
        "large": [r.prompt_tokens + r.generated_tokens for r in (a.large, b.large)],
    }
    bytes_of_a = a.large.bytes_up + a.large.bytes_down
    ends = {
        "flops_per_token": (200.0, 200.0 + 2000.0 / 2),
        "flops_per_query": (
            200.0 * np.mean(tokens["small"]),
            200.0 * np.mean(tokens["small"]) + 2000.0 * tokens["large"][0] / 2,
        ),
        "deferral_rate": (0.0, 0.5),
        "bytes": (0.0, bytes_of_a / 2),
        "seconds": (
            np.mean([r.small.generate_s for r in (a, b)]),
            np.mean([r.small.generate_s for r in (a, b)]) + a.large.round_trip_s / 2,
        ),
    }
    assert ends.keys() == COSTS.keys()
    for name, (none_deferred, first_deferred) in ends.items():
        curve = deferral_curve(trace, cost=name)
        assert curve.cost[:2] == pytest.approx([none_deferred, first_deferred]), name
    money = token_prices(small=(0.0, 0.1), large=(1.0, 3.0))
    small_price = 0.1 * np.mean([r.small.generated_tokens for r in (a, b)])
    large_price = a.large.prompt_tokens * 1.0 + a.large.generated_tokens * 3.0
    assert deferral_curve(trace, cost=money).cost[:2] == pytest.approx(
        [small_price, small_price + large_price / 2]
    )


def test_a_cost_model_that_is_unknown_or_wrong_is_refused(four: Trace) -> None:
    def model(small: object, large: object) -> CostModel:
        return CostModel("mine", "Mine", "EUR", lambda trace: (np.array(small), np.array(large)))

    with pytest.raises(SimulatorError, match=r"cost 'flops' is unknown; .* known: flops_per_token"):
        deferral_curve(four, cost="flops")
    with pytest.raises(SimulatorError, match=r"'mine': the small model's must have shape \(4,\)"):
        deferral_curve(four, cost=model([1.0], [1.0] * 4))
    with pytest.raises(SimulatorError, match=r"large model's must be finite and >= 0; got -1.0"):
        deferral_curve(four, cost=model([0.0] * 4, [1.0, -1.0, 1.0, 1.0]))
    with pytest.raises(SimulatorError, match=r"finite and >= 0; got nan"):
        deferral_curve(four, cost=model([0.0] * 4, [1.0, math.nan, 1.0, 1.0]))
