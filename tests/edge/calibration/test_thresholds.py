"""Thresholds against brute force, p-values against scipy and simulation, guarantees held."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from escalade.edge.calibration.risk import (
    most_misses,
    p_mean_reaches,
    wilson_interval,
)
from escalade.edge.calibration.thresholds import (
    threshold_for_quality,
    threshold_for_rate,
    threshold_within,
)
from escalade.edge.deferral.rules import defers
from escalade.edge.errors import CalibrationError

Floats = NDArray[np.float64]

scores = st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=1, max_size=40)


def candidates(values: list[float]) -> list[float]:
    return [*values, math.inf]


@given(scores, st.floats(0, 1))
def test_no_threshold_comes_nearer_to_the_target(values: list[float], target: float) -> None:
    found = threshold_for_rate(values, target)
    achieved = np.mean([defers(value, found.threshold) for value in values])
    assert achieved == pytest.approx(found.achieved)
    rates = {np.mean([value >= tau for value in values]) for tau in candidates(values)}
    nearest = min(abs(rate - target) for rate in rates)
    assert abs(achieved - target) == pytest.approx(nearest, abs=1e-9)


def test_tied_queries_defer_together_and_the_cheaper_of_two_wins() -> None:
    assert threshold_for_rate([1.0, 1.0, 2.0, 2.0], 0.25).achieved == 0.0
    assert threshold_for_rate([1.0, 1.0, 2.0, 2.0], 0.3) == (2.0, 0.5)
    assert threshold_for_rate([1.0, 1.0], 0.9) == (1.0, 1.0)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_ends_can_be_had(target: float) -> None:
    assert threshold_for_rate([0.5, 0.1, 0.9], target).achieved == target


@pytest.mark.parametrize(
    ("values", "target", "says"),
    [
        ([], 0.5, "at least 1 query"),
        ([1.0, math.nan], 0.5, "not finite"),
        ([1.0], 1.5, r"must be in \[0, 1\], got 1.5"),
        ([1.0], -0.1, r"must be in \[0, 1\], got -0.1"),
    ],
)
def test_what_cannot_be_calibrated(values: list[float], target: float, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        threshold_for_rate(values, target)
    with pytest.raises(CalibrationError, match=says.replace("deferral rate", "quality")):
        threshold_for_quality(values, [True] * len(values), [True] * len(values), target)


@given(scores, st.data())
def test_no_threshold_reaches_the_quality_at_a_lower_rate(
    values: list[float], data: st.DataObject
) -> None:
    answers = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    small, large = data.draw(answers), data.draw(answers)

    def quality(tau: float) -> float:
        rows = zip(values, small, large, strict=True)
        return sum(b if score >= tau else a for score, a, b in rows) / len(values)

    def rate(tau: float) -> float:
        return sum(score >= tau for score in values) / len(values)

    taus = candidates(values)
    target = data.draw(st.sampled_from([quality(tau) for tau in taus]))
    found = threshold_for_quality(values, small, large, target)
    assert quality(found.threshold) >= target
    assert found.achieved == pytest.approx(rate(found.threshold))
    assert found.achieved <= min(rate(tau) for tau in taus if quality(tau) >= target) + 1e-12
    best = max(map(quality, taus))
    if best < 1.0:
        with pytest.raises(CalibrationError, match=rf"the best is {best:.4g}, at"):
            threshold_for_quality(values, small, large, (best + 1.0) / 2)


def test_wilson_against_a_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3: 81 of 263.
    low, high = wilson_interval(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0.0, 10)[0] == 0.0
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)


@given(st.integers(1, 2000), st.floats(0.001, 0.5), st.floats(0.01, 0.5))
@settings(deadline=None)
def test_one_more_miss_would_be_too_many_by_scipys_tail(n: int, share: float, delta: float) -> None:
    k = most_misses(n, share, delta)
    assert stats.binom.cdf(k, n, share) <= delta * (1 + 1e-7)
    assert stats.binom.cdf(k + 1, n, share) >= delta * (1 - 1e-7)


def violations(rejects: Callable[[np.random.Generator], bool], trials: int = 400) -> int:
    """How often, of 400 seeded trials."""
    return sum(rejects(np.random.default_rng(seed)) for seed in range(trials))


def most(delta: float, trials: int = 400) -> int:
    """More violations than this come with probability 0.001 where delta is kept."""
    return int(stats.binom.ppf(0.999, trials, delta))


@pytest.mark.parametrize(
    "shares", [(0.0, 0.05), (0.02, 0.07), (0.2, 0.25), (0.475, 0.525), (0.0, 0.5)]
)
@pytest.mark.parametrize("n", [30, 300])
def test_the_betting_p_value_is_one(shares: tuple[float, float], n: int) -> None:
    """Where the mean is the bound itself, the hardest of the null hypothesis."""
    less, more = shares
    delta, mean = 0.1, more - less
    values = np.array([-1.0, 0.0, 1.0])
    chances = [less, 1.0 - less - more, more]

    def rejects(generator: np.random.Generator) -> bool:
        sample = generator.choice(values, size=n, p=chances)
        return p_mean_reaches(sample, mean, delta) <= delta

    assert violations(rejects) <= most(delta)


def test_the_betting_p_value_falls_with_evidence() -> None:
    nothing = [p_mean_reaches(np.zeros(n), 0.02, 0.1) for n in (10, 100, 200, 400)]
    assert nothing == sorted(nothing, reverse=True)
    assert nothing[0] > 0.1 > nothing[2]
    assert p_mean_reaches(np.ones(50), 0.02, 0.1) == 1.0
    assert p_mean_reaches(np.full(50, -1.0), 0.02, 0.1) < 1e-3


class World:
    """A cascade whose true risk is known at every threshold.

    Scores are uniform on [0, 1) in steps; the small model is worse than the large one by
    `gap(score)`, and both err at random where they do.
    """

    def __init__(self, gap: Callable[[Floats], Floats], spoiled: float, steps: int) -> None:
        self._gap, self._spoiled, self._steps = gap, spoiled, steps
        self._points = np.arange(steps) / steps

    def sample(self, n: int, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        values = generator.integers(self._steps, size=n) / self._steps
        draw = generator.random(n)
        gains = draw < self._gap(values) + self._spoiled
        spoils = ~gains & (draw < self._gap(values) + 2 * self._spoiled)
        both = generator.random(n) < 0.5
        small = np.where(gains, False, np.where(spoils, True, both))
        large = np.where(gains, True, np.where(spoils, False, both))
        return values, small, large

    def risk(self, threshold: float) -> float:
        return float(np.where(self._points < threshold, self._gap(self._points), 0.0).mean())


WORLDS = {
    # The risk creeps past epsilon, in many steps or in ties of a few.
    "smooth": World(lambda s: 0.3 * s, 0.0, 10_000),
    "spoiling": World(lambda s: 0.3 * s, 0.1, 10_000),
    "ties": World(lambda s: 0.2 * s, 0.05, 8),
    # Safe, and then just above epsilon: one step decides.
    "cliff": World(lambda s: np.where(s < 0.5, 0.0, 0.11), 0.02, 2),
    # Falls again beyond: not monotone.
    "bump": World(lambda s: np.where(s < 0.3, 0.2, -0.15), 0.16, 1000),
    "always bad": World(lambda s: np.full_like(s, 0.06), 0.0, 1),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("n", "delta"), [(120, 0.2), (400, 0.1)])
def test_the_risk_is_above_epsilon_at_most_as_often_as_delta_says(
    name: str, n: int, delta: float
) -> None:
    world, epsilon = WORLDS[name], 0.05

    def too_risky(generator: np.random.Generator) -> bool:
        found = threshold_within(*world.sample(n, generator), epsilon, delta)
        return found is not None and world.risk(found.threshold) > epsilon

    assert violations(too_risky) <= most(delta)


def test_a_certificate_is_worth_having() -> None:
    """Deferring all is safe too; the threshold keeps most of what may be kept."""
    world, epsilon = WORLDS["smooth"], 0.05
    # Keeping the lowest s costs 0.15 s^2: 0.05 at s = 0.577.
    kept = []
    for seed in range(20):
        sample = world.sample(2000, np.random.default_rng(seed))
        found = threshold_within(*sample, epsilon, 0.1)
        assert found is not None
        kept.append(1 - found.achieved)
    assert np.mean(kept) > 0.45


def test_too_few_queries_certify_nothing() -> None:
    values = np.linspace(0, 1, 20)
    right = np.ones(20, dtype=np.bool_)
    assert threshold_within(values, right, right, 0.01, 0.1) is None
    many = np.linspace(0, 1, 400)
    right = np.ones(400, dtype=np.bool_)
    found = threshold_within(many, right, right, 0.01, 0.1)
    assert found is not None
    assert found.achieved == 0.0


def test_ties_are_certified_together() -> None:
    values = np.repeat([1.0, 2.0], 300)
    small = np.repeat([True, False], 300)
    large = np.ones(600, dtype=np.bool_)
    assert threshold_within(values, small, large, 0.05, 0.1) == (2.0, 0.5)
