"""An evaluation's numbers against what they are defined as, and its intervals against truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.curves.curves import (
    area_under_curve,
    cost_at_quality,
    deferral_curve,
)
from escalade.simulator.curves.sweep import DeferralCurve
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation, Headline
from escalade.simulator.evaluation.tables import lede, tables_of
from escalade.simulator.recorded import with_prices

RESAMPLES = 60


def quality_at_cost(curve: DeferralCurve, cost: float) -> float:
    return float(np.interp(cost, curve.cost, curve.quality))


def headline(found: Evaluation, group: str, rule: str = "recorded") -> Headline:
    return next(row for row in found.slices[0].headlines if (row.group, row.rule) == (group, rule))


def test_headlines_are_read_off_the_exact_curves(
    both: Evaluation, realistic_trace: Trace, better_trace: Trace
) -> None:
    whole = both.slices[0]
    base, other = deferral_curve(realistic_trace), deferral_curve(better_trace)
    assert whole.task is None
    assert whole.queries == 1000
    assert both.baseline == "xent"
    assert whole.quality == pytest.approx((base.quality[0] + base.quality[-1]) / 2)
    budget = cost_at_quality(base, whole.quality)
    assert whole.budget == budget
    large = 2.0 * 6_200_000
    for name, curve in (("xent", base), ("cat", other)):
        row = headline(both, name)
        needed = cost_at_quality(curve, whole.quality)
        at_large = cost_at_quality(curve, curve.quality[-1])
        assert needed is not None
        assert at_large is not None
        assert budget is not None
        assert row.small_quality.value == pytest.approx(curve.quality[0])
        assert row.large_quality.value == pytest.approx(curve.quality[-1])
        assert row.area.value == pytest.approx(area_under_curve(curve))
        assert row.random_area.value == pytest.approx((curve.quality[0] + curve.quality[-1]) / 2)
        assert row.cost_at_quality.value == pytest.approx(needed)
        assert row.saved_against_large.value == pytest.approx(1 - needed / large)
        assert row.saved_at_large_quality.value == pytest.approx(1 - at_large / large)
        assert row.quality_at_budget.value == pytest.approx(quality_at_cost(curve, budget))
        assert row.over_seeds == {}
    (contrast,) = whole.contrasts
    a, b = headline(both, "cat"), headline(both, "xent")
    assert contrast.area_gain.value == pytest.approx(a.area.value - b.area.value)
    assert contrast.cost_saved.value == pytest.approx(
        1 - a.cost_at_quality.value / b.cost_at_quality.value
    )
    assert contrast.quality_gained.value == pytest.approx(
        a.quality_at_budget.value - b.quality_at_budget.value
    )


def test_share_of_the_oracles_gain_is_0_at_random_and_1_for_the_oracle(
    make_trace: Callable[..., Trace],
) -> None:
    small, large = [True, False, False, True], [True, True, False, False]
    gains = [0.0, 1.0, 0.0, -1.0]
    tied = evaluate({"m": [make_trace([1.0] * 4, small, large)]}, resamples=RESAMPLES)
    assert headline(tied, "m").share_of_oracle_gain.value == pytest.approx(0)
    best = evaluate({"m": [make_trace(gains, small, large)]}, resamples=RESAMPLES)
    assert headline(best, "m").share_of_oracle_gain.value == pytest.approx(1)
    assert headline(best, "m").oracle_area == headline(best, "m").area
    worst = evaluate({"m": [make_trace([-g for g in gains], small, large)]}, resamples=RESAMPLES)
    value = headline(worst, "m").share_of_oracle_gain.value
    assert value is not None
    assert value < -0.5
    same = evaluate({"m": [make_trace(gains, small, small)]}, resamples=RESAMPLES)
    assert headline(same, "m").share_of_oracle_gain.value is None


def test_areas_of_all_kinds_hold_what_the_lowest_rate_in_reach_gives(
    make_trace: Callable[..., Trace],
) -> None:
    """Half of the queries always defer, so rates under 0.5 are nobody's."""
    small, large = [True, False, False, True], [False, True, True, True]
    trace = make_trace([math.nan, math.nan, 0.2, 0.1], small, large)
    row = headline(evaluate({"m": [trace]}, resamples=RESAMPLES), "m")
    # Quality from 0.5 on: the cascade 0.5, 0.75, 0.75; random 0.625 to 0.75; the oracle 1 until
    # all but the first defer, then 0.75.
    for number, expected in (
        (row.area, 0.5 * 0.5 + (0.625 + 0.75) / 4),
        (row.random_area, 0.5 * 0.625 + (0.625 + 0.75) / 4),
        (row.oracle_area, 0.5 * 1.0 + (1.0 + 0.875) / 4),
    ):
        assert number.value == pytest.approx(expected)
    curve = evaluate({"m": [trace]}, resamples=1).slices[0].curves[0]
    assert curve.quality[:100] == [None] * 100
    assert curve.quality[100] == pytest.approx(0.5)


def test_areas_that_are_subtracted_are_over_the_same_rates(
    make_trace: Callable[..., Trace],
) -> None:
    """Equal answers and order; to defer half always is to stay at that half's quality below it."""
    small, large = [False, False, True, True], [True, True, True, True]
    free = make_trace([0.4, 0.3, 0.2, 0.1], small, large)
    bound = make_trace([math.inf, math.inf, 0.2, 0.1], small, large)
    found = evaluate({"free": [free], "bound": [bound]}, resamples=RESAMPLES)
    (contrast,) = found.slices[0].contrasts
    # Under 0.5 the free one rises from 0.5 to 1, the bound one is at 1; above it they are one.
    assert contrast.area_gain.value == pytest.approx(0.5 * 0.25)


def test_tasks_by_themselves_are_the_traces_of_those_tasks(
    both: Evaluation, realistic_trace: Trace
) -> None:
    assert [part.task for part in both.slices] == [None, "g2p", "p2g", "stress", "syllables"]
    part = both.slices[2]
    records = [record for record in realistic_trace.records if record.task == "p2g"]
    curve = deferral_curve(realistic_trace._replace(records=records))
    assert part.queries == len(records)
    assert part.headlines[0].area.value == pytest.approx(area_under_curve(curve))
    drawn = part.curves[0]
    expected = np.interp(drawn.deferral_rate, curve.deferral_rate, curve.quality)
    np.testing.assert_allclose(np.array(drawn.quality, dtype=float), expected)


def test_drawn_curves_add_up(both: Evaluation) -> None:
    for curve in both.slices[0].curves:
        values = {
            name: np.array(getattr(curve, name), dtype=float)
            for name in ("quality", "a1", "a2", "random", "oracle", "cost")
        }
        np.testing.assert_allclose(values["a1"] + values["a2"], values["quality"])
        for end in (0, -1):
            assert values["random"][end] == pytest.approx(values["quality"][end])
            assert values["oracle"][end] == pytest.approx(values["quality"][end])
        assert (values["oracle"] >= values["quality"] - 1e-12).all()
        assert (np.diff(values["cost"]) > 0).all()
        assert curve.lowest is None


def test_rules_are_held_against_the_first(
    with_answer: Callable[..., TraceRecord], realistic_trace: Trace
) -> None:
    records = []
    for k, record in enumerate(realistic_trace.records):
        device = record.tiers[0]
        logprobs = [-device.score, -0.01 * (k % 7)]
        member = msgspec.structs.replace(device.members[0], logprobs=logprobs)
        records.append(with_answer(record, 0, members=[member]))
    trace = realistic_trace._replace(records=records)
    second = ("second token", lambda values: float(-np.asarray(values)[1]))
    found = evaluate({"m": [trace]}, rules=["min", second, "max"], resamples=RESAMPLES)
    assert found.rules == ["min", "second token", "max"]
    assert [(c.rule, c.baseline_rule) for c in found.slices[0].contrasts] == [
        ("second token", "min"),
        ("max", "min"),
    ]
    for rule, named in (("min", "min"), (second, "second token"), ("max", "max")):
        row = headline(found, "m", named)
        assert row.area.value == pytest.approx(area_under_curve(deferral_curve(trace, rule=rule)))
    # The first token says whether the answer is right, the second says nothing.
    gain = found.slices[0].contrasts[0].area_gain
    assert gain.high is not None
    assert gain.high < 0


def test_a_gate_of_many_tiers_is_evaluated_like_one_of_two(
    make_cascade: Callable[..., Trace],
) -> None:
    groups = {
        name: [make_cascade([3, 2, 1], 300, seed=seed, thresholds=[0.3, 0.3])]
        for seed, name in enumerate(("a", "b"))
    }
    for gate in ("tier0", "tier1"):
        found = evaluate(groups, gate=gate, cost="money", resamples=RESAMPLES, by_task=True)
        assert found.gate == gate
        for name, (trace,) in groups.items():
            curve = deferral_curve(trace, gate=gate, cost="money")
            assert found.groups[name] == 1
            if gate == "tier0":
                row = headline(found, name)
                assert row.area.value == pytest.approx(area_under_curve(curve))
                assert row.small_quality.value == pytest.approx(curve.quality[0])
    assert [note.partition(":")[0] for note in found.notes] == ["a", "b", "a", "b"]
    assert "are answered below the gate after 'tier1' and are left out" in found.notes[0]
    assert evaluate(groups, resamples=1).gate == "tier0"


def test_a_budget_goes_as_far_as_it_can_where_costs_fall_on_the_way(
    make_cascade: Callable[..., Trace],
) -> None:
    """A vote that is decided early asks fewer members, so that deferring may be the cheaper."""
    trace = make_cascade([3, 1], 200, linked=[False, False])
    free = with_prices(trace, {"model1.0": (0.0, 0.0)})
    curve = deferral_curve(free, cost="money")
    assert curve.cost[-1] < curve.cost[0]
    for budget in (1.1 * curve.cost.max(), (1 + 1e-9) * curve.cost[-1]):
        row = headline(evaluate({"m": [free]}, cost="money", budget=budget, resamples=1), "m")
        assert row.quality_at_budget.value == pytest.approx(curve.quality[-1])


def test_lower_is_better_turns_gains_round(make_trace: Callable[..., Trace]) -> None:
    rng = np.random.default_rng(0)
    n = 200

    def trace(error_rate: float) -> Trace:
        wrong = rng.random(n) < error_rate
        scores = (rng.random(n) + 0.5 * wrong).tolist()
        texts = [(["a b c d"], "a b c x" if bad else "a b c d", "a b c d") for bad in wrong]
        return make_trace(scores, [True] * n, [True] * n, texts=texts)

    found = evaluate(
        {"worse": [trace(0.6)], "better": [trace(0.3)]}, metric="per", resamples=RESAMPLES
    )
    assert not found.metric.higher_is_better
    worse, better = headline(found, "worse"), headline(found, "better")
    assert better.area.value is not None
    assert worse.area.value is not None
    assert better.area.value < worse.area.value
    (contrast,) = found.slices[0].contrasts
    assert contrast.area_gain.value == pytest.approx(worse.area.value - better.area.value)
    for gain in (contrast.area_gain, contrast.cost_saved, contrast.quality_gained):
        assert gain.low is not None
        assert gain.low > 0
    assert worse.share_of_oracle_gain.value is not None
    assert 0 < worse.share_of_oracle_gain.value < 1
    assert found.slices[0].curves[0].a1 is None


def test_a_quality_nobody_reaches_has_no_cost(realistic_trace: Trace, better_trace: Trace) -> None:
    found = evaluate(
        {"a": [realistic_trace], "b": [better_trace]}, quality=0.999, resamples=RESAMPLES
    )
    row, whole = headline(found, "a"), found.slices[0]
    assert whole.budget is None
    for number in (row.cost_at_quality, row.saved_against_large, row.quality_at_budget):
        assert (number.value, number.low, number.high) == (None, None, None)
    assert whole.contrasts[0].cost_saved.value is None
    assert whole.contrasts[0].area_gain.value is not None
    assert all(isinstance(line, str) for line in lede(found))


def test_what_only_the_baseline_never_reaches_has_no_share_saved(
    make_trace: Callable[..., Trace],
) -> None:
    n = 40
    right, half = [True] * n, [k % 2 == 0 for k in range(n)]
    scores = [k / n for k in range(n)]
    groups = {"under": [make_trace(scores, half, half)], "above": [make_trace(scores, right, half)]}
    for baseline in groups:
        found = evaluate(groups, baseline=baseline, quality=0.9, resamples=RESAMPLES)
        saved = found.slices[0].contrasts[0].cost_saved
        assert (saved.value, saved.low, saved.high) == (None, None, None)
    # One resample in 13 has 0.62 right of the half; neither then defers, at the same cost.
    found = evaluate(groups, quality=0.62, resamples=RESAMPLES)
    saved = found.slices[0].contrasts[0].cost_saved
    assert (saved.value, saved.low, saved.high) == (None, 0.0, None)


def test_quality_and_budget_asked_for_are_where_curves_are_read(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    prices = {"escalade-large": (1.0, 3.0)}
    priced, other = (with_prices(trace, prices) for trace in (realistic_trace, better_trace))
    found = evaluate(
        {"a": [priced], "b": [other]},
        cost="money",
        baseline="b",
        quality=0.7,
        budget=5e-6,
        resamples=RESAMPLES,
    )
    whole = found.slices[0]
    assert (found.baseline, whole.quality, whole.budget) == ("b", 0.7, 5e-6)
    curve = deferral_curve(priced, cost="money")
    row = headline(found, "a")
    assert row.cost_at_quality.value == pytest.approx(cost_at_quality(curve, 0.7))
    assert row.quality_at_budget.value == pytest.approx(quality_at_cost(curve, 5e-6))
    texts = [cell.text for table in tables_of(found, whole) for row in table.rows for cell in row]
    assert any(text.endswith(" USD") for text in texts)


def test_same_seed_same_numbers_and_json_and_back(
    both: Evaluation, realistic_trace: Trace, better_trace: Trace
) -> None:
    groups = {"xent": [realistic_trace], "cat": [better_trace]}
    ticks: list[tuple[int, int]] = []
    again = evaluate(
        groups,
        resamples=200,
        by_task=True,
        seed=3,
        progress=lambda done, total: ticks.append((done, total)),
    )
    assert again == both
    # 5 slices, 2 traces, 2 batches of resamples.
    assert ticks == [(k, 20) for k in range(1, 21)]
    assert msgspec.json.decode(msgspec.json.encode(both), type=Evaluation) == both
    other = evaluate(groups, resamples=200, seed=4)
    assert headline(other, "cat").area.value == headline(both, "cat").area.value
    assert headline(other, "cat").area.low != headline(both, "cat").area.low
