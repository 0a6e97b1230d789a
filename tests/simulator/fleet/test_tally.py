"""Percentiles of a histogram beside those of the latencies themselves."""

from __future__ import annotations

import numpy as np
import pytest
from small_fleets import Group, model_of

from escalade.simulator.fleet.engine.fast import simulate
from escalade.simulator.fleet.engine.tally import ANSWERED, BINS, quantile


@pytest.mark.parametrize("scale", [1e-5, 0.03, 7.0, 3e4])
def test_a_percentile_is_off_by_a_fifth_of_a_percent_at_most(scale: float) -> None:
    times = (scale * np.random.default_rng(1).lognormal(size=500)).tolist()
    group = Group(40, 0.01 / scale, times, (False,) * 500, (0.0,) * 500)
    outcome = simulate(model_of([group], seconds=1000 * scale), windows=1, threads=1, keep=True)
    assert outcome.kept is not None
    counts = outcome.tally.histogram[0, ANSWERED]
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = float(np.quantile(outcome.kept.latency_s, share, method="inverted_cdf"))
        assert quantile(counts, share) == pytest.approx(exact, rel=0.00196)
    assert outcome.tally.sums.sum() == pytest.approx(outcome.kept.latency_s.sum())


def test_what_is_outside_counts_at_the_ends() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    assert np.isnan(quantile(counts, 0.5))
    counts[0] = 1
    assert quantile(counts, 0.5) == 0.0
