"""Intervals against the truth of a known population."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.split import split_at
from escalade.simulator.evaluation.bootstrap import estimate
from escalade.simulator.evaluation.replicates import NUMBERS, SortedTrace, Target, replicate


def test_intervals_cover_the_truth_about_as_often_as_they_say(
    make_trace: Callable[..., Trace],
) -> None:
    """150 samples of 120 queries from a known population; 95 % should cover, within luck."""
    rng = np.random.default_rng(7)
    population = 20_000
    small = rng.random(population) < 0.6
    large = rng.random(population) < 0.8
    scores = rng.gamma(2.0, np.where(small, 0.1, 0.25))
    columns = columns_of(split_at(make_trace(scores.tolist(), small.tolist(), large.tolist())))
    target = Target(quality=0.72, budget=1000.0)
    truth = SortedTrace.of(columns, [columns.score]).numbers(target)[0]
    samples, hits = 150, np.zeros(len(truth))
    for k in range(samples):
        sample = columns.take(rng.choice(population, 120))
        cascade = SortedTrace.of(sample, [sample.score])
        drawn = replicate([cascade], target, 100, np.random.default_rng(k), lambda: None)[0, :, 0]
        for number, true in enumerate(truth):
            found = estimate(0.0, drawn[:, number])
            low = -math.inf if found.low is None else found.low
            high = math.inf if found.high is None else found.high
            hits[number] += low <= true <= high
    # 95 % of 150 is 142.5 with a standard deviation of 2.7; small samples fall a little short.
    assert len(NUMBERS) == len(hits)
    for name, covered in zip(NUMBERS, hits, strict=True):
        assert 131 <= covered <= 150, (name, covered)
