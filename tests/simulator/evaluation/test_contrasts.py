"""Models held against each other: differences, their intervals, and what seeds add to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.curves.curves import (
    area_under_curve,
    deferral_curve,
    quality_at_deferral_rate,
)
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation
from escalade.simulator.evaluation.tables import seeds_table

RESAMPLES = 60


def perturbed(trace: Trace, seed: int, flips: float = 0.05) -> Trace:
    """The same queries under another training seed: some small answers turn, scores move."""
    rng = np.random.default_rng(seed)
    records = []
    for record in trace.records:
        device, cloud = record.tiers
        turned = msgspec.structs.replace(
            device,
            correct=bool(device.correct) ^ bool(rng.random() < flips),
            score=device.score * float(rng.uniform(0.8, 1.2)),
        )
        records.append(msgspec.structs.replace(record, tiers=[turned, cloud]))
    return trace._replace(records=records)


def test_seeds_give_means_spreads_and_pairs(realistic_trace: Trace, better_trace: Trace) -> None:
    groups = {
        "xent": [perturbed(realistic_trace, seed) for seed in range(3)],
        "cat": [perturbed(better_trace, seed) for seed in range(10, 13)],
    }
    found = evaluate(groups, resamples=RESAMPLES)
    areas = {
        name: np.array([area_under_curve(deferral_curve(trace)) for trace in traces])
        for name, traces in groups.items()
    }
    rows = {row.group: row for row in found.slices[0].headlines}
    for name, expected in areas.items():
        row = rows[name]
        assert row.seeds == 3
        assert row.area.value == pytest.approx(expected.mean())
        assert row.over_seeds["area"].by_seed == pytest.approx(expected.tolist())
        assert row.over_seeds["area"].deviation == pytest.approx(expected.std(ddof=1))
    (contrast,) = found.slices[0].contrasts
    assert contrast.paired_seeds
    assert contrast.area_gain_by_seed == pytest.approx((areas["cat"] - areas["xent"]).tolist())
    curve = found.slices[0].curves[0]
    assert curve.lowest is not None
    assert curve.highest is not None
    spread = np.array(curve.highest, dtype=float) - np.array(curve.lowest, dtype=float)
    assert spread.max() > 0
    seeds = seeds_table(found)
    assert seeds is not None
    assert len(seeds.rows) == 6


def test_identical_seeds_have_the_interval_of_one_and_different_ones_a_wider(
    realistic_trace: Trace,
) -> None:
    def width(traces: Sequence[Trace]) -> float:
        (row,) = evaluate({"m": traces}, resamples=200).slices[0].headlines
        area = row.small_quality
        assert area.low is not None
        assert area.high is not None
        return area.high - area.low

    one = width([realistic_trace])
    assert width([realistic_trace] * 4) == pytest.approx(one)
    # Seeds 20 points apart: what queries leave open is little beside that.
    apart = [perturbed(realistic_trace, seed, flips) for seed, flips in ((1, 0.0), (2, 1.0))]
    assert width(apart) > 2 * one


def test_groups_of_unlike_size_are_not_paired_by_seed(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    groups = {
        "xent": [perturbed(realistic_trace, seed) for seed in range(3)],
        "cat": [better_trace],
    }
    for baseline in groups:
        found = evaluate(groups, baseline=baseline, resamples=RESAMPLES)
        (contrast,) = found.slices[0].contrasts
        assert not contrast.paired_seeds
        assert contrast.area_gain_by_seed == []
        assert contrast.area_gain.low is not None


def test_a_model_does_not_differ_from_itself(realistic_trace: Trace) -> None:
    shuffled = realistic_trace._replace(records=realistic_trace.records[::-1])
    found = evaluate({"a": [realistic_trace], "b": [shuffled]}, resamples=RESAMPLES)
    (contrast,) = found.slices[0].contrasts
    for gain in (contrast.area_gain, contrast.cost_saved, contrast.quality_gained):
        assert [gain.value, gain.low, gain.high] == pytest.approx([0, 0, 0], abs=1e-12)
    assert contrast.p_value == 1.0


def test_the_better_model_is_found_better(both: Evaluation) -> None:
    (contrast,) = both.slices[0].contrasts
    assert contrast.p_value == pytest.approx(2 / 201)
    for gain in (contrast.area_gain, contrast.cost_saved, contrast.quality_gained):
        assert gain.low is not None
        assert gain.low > 0


def test_the_interval_of_a_difference_without_deferral_is_the_normal_one(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    """For no calls at all the difference is a plain paired mean, whose interval is known."""
    found = evaluate(
        {"a": [realistic_trace], "b": [better_trace]},
        cost="deferral_rate",
        budget=0.0,
        resamples=2000,
    )
    pairs = zip(better_trace.records, realistic_trace.records, strict=True)
    steps = np.array([bool(a.tiers[0].correct) - bool(b.tiers[0].correct) for a, b in pairs])
    half = 1.96 * steps.std() / math.sqrt(len(steps))
    gained = found.slices[0].contrasts[0].quality_gained
    assert gained.value == pytest.approx(steps.mean())
    assert gained.low == pytest.approx(steps.mean() - half, abs=0.15 * half)
    assert gained.high == pytest.approx(steps.mean() + half, abs=0.15 * half)


def test_qualities_are_compared_at_equal_cost(realistic_trace: Trace, better_trace: Trace) -> None:
    found = evaluate(
        {"a": [realistic_trace], "b": [better_trace]},
        cost="deferral_rate",
        budget=0.3,
        resamples=300,
    )
    at = [
        quality_at_deferral_rate(deferral_curve(trace), 0.3)
        for trace in (better_trace, realistic_trace)
    ]
    gained = found.slices[0].contrasts[0].quality_gained
    assert gained.value == pytest.approx(at[0] - at[1])
    assert gained.low is not None
    assert gained.high is not None
    assert 0 < gained.low < at[0] - at[1] < gained.high < 0.2
