"""The interval of a running mean: it holds at all times, and it narrows."""

from __future__ import annotations

import numpy as np
import pytest

from escalade.training.audit.running_mean import running_mean_interval

ALPHA = 0.1


def test_nothing_seen_says_nothing() -> None:
    assert running_mean_interval(0, 0, ALPHA) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 10, 300])
def test_ends_are_possible_only_where_nothing_contradicts_them(n: int) -> None:
    assert running_mean_interval(0, n, ALPHA)[0] == 0.0
    assert running_mean_interval(n, n, ALPHA)[1] == 1.0
    low, high = running_mean_interval(n // 2, n, ALPHA)
    assert low < (n // 2) / n < high or n == 1


def test_it_narrows_and_is_not_far_from_an_interval_for_one_time() -> None:
    widths = [
        high - low
        for low, high in (running_mean_interval(n // 10, n, ALPHA) for n in (100, 1000, 10_000))
    ]
    assert widths == sorted(widths, reverse=True)
    # 2 x 1.645 sqrt(p (1 - p) / n) holds at one time; at all times costs less than 2.5 times that.
    once = 2 * 1.645 * (0.1 * 0.9 / 1000) ** 0.5
    assert once < widths[1] < 2.5 * once


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_the_mean_is_inside_at_all_times_in_most_streams(drift: float) -> None:
    """Also where probabilities change: it is their running mean that is inside."""
    streams, length, missed = 100, 400, 0
    for seed in range(streams):
        probabilities = 0.2 + drift * (np.arange(length) / length)
        happened = np.random.default_rng(seed).random(length) < probabilities
        means = np.cumsum(probabilities) / np.arange(1, length + 1)
        missed += any(
            not low <= means[n - 1] <= high
            for n in range(10, length + 1, 10)
            for low, high in [running_mean_interval(int(happened[:n].sum()), n, ALPHA)]
        )
    assert missed <= ALPHA * streams
