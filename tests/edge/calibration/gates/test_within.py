"""The guarantee of several gates, on made-up cascades of three tiers whose true risk is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from escalade.edge.calibration.gates.climb import Sample, climb, right_under
from escalade.edge.calibration.gates.search import cheapest_at_quality, search
from escalade.edge.calibration.gates.within import path_of, thresholds_within
from escalade.edge.calibration.thresholds import threshold_within

Floats = NDArray[np.float64]

EPSILON, LOWEST = 0.05, (-1.0, -1.0)


@dataclass(frozen=True)
class World:
    """Queries of two scores on a grid; each tier's answer is right with a chance that they set."""

    first: Callable[[Floats, Floats], Floats]
    second: Callable[[Floats, Floats], Floats]
    last: Callable[[Floats, Floats], Floats]
    steps: int

    def chances(self) -> tuple[Floats, Floats]:
        """Scores `(steps^2, 2)` and, of each tier, how often it is right there, `(steps^2, 3)`."""
        grid = np.arange(self.steps) / self.steps
        s, t = (one.ravel() for one in np.meshgrid(grid, grid))
        chances = [np.broadcast_to(f(s, t), s.shape) for f in (self.first, self.second, self.last)]
        return np.stack([s, t], axis=1), np.stack(chances, axis=1)

    def sample(self, n: int, generator: np.random.Generator) -> Sample:
        scores, chances = self.chances()
        drawn = generator.integers(len(scores), size=n)
        return Sample(
            scores=scores[drawn],
            right=generator.random((n, 3)) < chances[drawn],
            costs=[np.full((1, n), cost) for cost in (1.0, 5.0, 50.0)],
        )

    def risk(self, thresholds: tuple[float, ...]) -> float:
        """By how much the cascade's share of right answers lies below the last tier's."""
        scores, chances = self.chances()
        whole = Sample(
            scores=scores,
            right=np.ones((len(scores), 3), dtype=np.bool_),
            costs=[np.zeros((1, len(scores)))] * 3,
        )
        stands = climb(whole, thresholds).answered_by
        return float((chances[:, -1] - chances[np.arange(len(scores)), stands]).mean())


def always(share: float) -> Callable[[Floats, Floats], Floats]:
    return lambda s, t: np.full_like(s, share)


WORLDS = {
    # The risk creeps past epsilon, at either gate.
    "smooth": World(lambda s, t: 0.9 - 0.5 * s, lambda s, t: 0.9 - 0.3 * t, always(0.9), 8),
    # Safe, and then one step of either gate decides.
    "cliff": World(
        lambda s, t: np.where(s < 0.5, 0.9, 0.75),
        lambda s, t: np.where(t < 0.5, 0.9, 0.72),
        always(0.9),
        4,
    ),
    # The second tier spoils what the first knows, the last does not: risk is not monotone.
    "spoiling": World(
        lambda s, t: 0.95 - 0.5 * s,
        lambda s, t: np.where(t < 0.3, 0.6, 0.85),
        always(0.85),
        6,
    ),
    # Both scores say nothing: a step of any gate costs the same.
    "blind": World(always(0.8), always(0.84), always(0.9), 5),
}


def most(delta: float, trials: int) -> int:
    """More violations than this come with probability 0.001 where delta is kept."""
    return int(stats.binom.ppf(0.999, trials, delta))


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("n", "delta", "trials"), [(120, 0.2, 300), (400, 0.1, 300)])
def test_the_risk_is_above_epsilon_at_most_as_often_as_delta_says(
    name: str, n: int, delta: float, trials: int
) -> None:
    world, failed, flattered, saved = WORLDS[name], 0, 0, 0
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        test, ordering = world.sample(n, generator), world.sample(n, generator)
        found = thresholds_within(test, ordering, EPSILON, delta, LOWEST)
        failed += found is not None and world.risk(found) > EPSILON
        saved += found is not None and found != LOWEST
        # What the same queries say of themselves, without a test.
        assert test.right is not None
        target = float(test.right[:, -1].mean()) - EPSILON
        best = search(test, cheapest_at_quality(target)).thresholds
        flattered += world.risk(best) > EPSILON
    assert failed <= most(delta, trials)
    assert flattered > most(delta, trials)  # the goal binds: it is easily missed
    assert saved > trials / 2 or name == "blind" or n < 400


def test_a_few_calibrations_keep_the_promise() -> None:
    """As the slow test, of one world."""
    world, delta, trials = WORLDS["smooth"], 0.2, 40
    failed = 0
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        test, ordering = world.sample(200, generator), world.sample(200, generator)
        found = thresholds_within(test, ordering, EPSILON, delta, LOWEST)
        failed += found is not None and world.risk(found) > EPSILON
    assert failed <= most(delta, trials)


def test_the_path_begins_where_everything_is_deferred_and_grows_cheaper() -> None:
    ordering = WORLDS["smooth"].sample(300, np.random.default_rng(1))
    path = path_of(ordering, EPSILON, LOWEST)
    assert path[0] == LOWEST
    assert len(path) > 5
    costs = [float(climb(ordering, taus).cost.mean()) for taus in path]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
    loss = [ordering.judged()[:, -1].mean() - right_under(ordering, taus).mean() for taus in path]
    assert loss == sorted(loss) or loss[1] < 0  # the first of a better cascade
    assert EPSILON < loss[-1] <= 2 * EPSILON + 1e-9


def test_the_path_does_not_look_at_the_queries_that_test_it() -> None:
    generator = np.random.default_rng(1)
    world = WORLDS["smooth"]
    ordering = world.sample(200, generator)
    path = path_of(ordering, EPSILON, LOWEST)
    for _ in range(5):
        found = thresholds_within(world.sample(400, generator), ordering, EPSILON, 0.1, LOWEST)
        assert found in path


def test_a_certificate_is_worth_having() -> None:
    """Deferring everything is safe too; certified thresholds cost much less."""
    world, costs = WORLDS["smooth"], []
    population = world.sample(20_000, np.random.default_rng(99))
    for seed in range(5):
        generator = np.random.default_rng(seed)
        test, ordering = world.sample(2000, generator), world.sample(2000, generator)
        found = thresholds_within(test, ordering, EPSILON, 0.1, LOWEST)
        assert found is not None
        costs.append(climb(population, found).cost.mean())
    assert np.mean(costs) < 0.8 * climb(population, LOWEST).cost.mean()


def test_too_few_queries_certify_nothing() -> None:
    generator = np.random.default_rng(1)
    few = WORLDS["smooth"].sample(20, generator)
    assert thresholds_within(few, few, 0.01, 0.1, LOWEST) is None


def test_one_gate_is_certified_as_one_artifact_is() -> None:
    both = WORLDS["smooth"].sample(800, np.random.default_rng(1))
    assert both.right is not None
    one = Sample(scores=both.scores[:, :1], right=both.right[:, [0, 2]], costs=both.costs[::2])
    known = threshold_within(one.scores[:, 0], both.right[:, 0], both.right[:, 2], EPSILON, 0.1)
    assert known is not None
    assert thresholds_within(one, None, EPSILON, 0.1, LOWEST[:1]) == (known.threshold,)
