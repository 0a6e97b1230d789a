"""Walks by themselves: coins that depend on seed and item alone, and who is run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.training.online.walking import EnsembleWalk, ExpertWalk, FixedWalk, drawn

SEEDS = st.integers(0, 1 << 40)


@given(SEEDS, st.integers(0, 1 << 40), st.integers(0, 20))
def test_a_coin_is_the_same_every_time_and_in_range(seed: int, number: int, what: int) -> None:
    assert 0.0 <= drawn(seed, number, what) < 1.0
    assert drawn(seed, number, what) == drawn(seed, number, what)


def test_coins_are_uniform_and_know_nothing_of_each_other() -> None:
    coins = np.array([[drawn(1, n, 0), drawn(1, n, 1), drawn(2, n, 0)] for n in range(20_000)])
    # Of 20,000 uniform numbers the mean is within 4 of its standard errors, 0.29 / sqrt(n).
    assert np.abs(coins.mean(axis=0) - 0.5).max() < 4 * 0.29 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(coins.T) - np.eye(3)).max() < 4 / np.sqrt(20_000)


def test_an_ensemble_draws_each_as_often_as_it_is_told_to_and_runs_that_one_alone() -> None:
    walk = EnsembleWalk([0.5, 0.2, 0.3], seed=1)
    chosen = []
    for number in range(5000):
        ran: list[int] = []
        chosen.append(walk.choose(number, lambda k, ran=ran: ran.append(k) or np.zeros(2)))  # type: ignore[misc]
        assert ran == [chosen[-1]] * (chosen[-1] < 2)
    shares = np.bincount(chosen, minlength=3) / 5000
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=0.03)


def test_the_expert_alone_runs_nobody_and_teaches_nobody() -> None:
    walk = ExpertWalk(2)
    assert walk.choose(5, lambda k: pytest.fail("no level runs")) == 2
    assert list(walk.learns(5)) == []


@pytest.mark.parametrize(
    ("number", "confident", "stands", "ran"),
    [
        (9, (0.9, 0.9), 2, []),
        (10, (0.9, 0.9), 0, [0]),
        (10, (0.6, 0.9), 1, [0, 1]),
        (10, (0.6, 0.6), 2, [0, 1]),
    ],
)
def test_fixed_levels_answer_once_they_are_taught_and_sure_enough(
    number: int, confident: tuple[float, float], stands: int, ran: list[int]
) -> None:
    walk = FixedWalk(2, 10, {0: 0.8, 1: 0.7})
    runs: list[int] = []

    def run(k: int) -> np.ndarray:
        runs.append(k)
        return np.log(np.array([confident[k], 1 - confident[k]]))

    assert walk.choose(number, run) == stands
    assert runs == ran
    assert bool(walk.learns(number)) == (number < 10)
