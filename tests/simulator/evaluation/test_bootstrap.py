"""Intervals and p-values of resamples whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from escalade.simulator.evaluation.bootstrap import estimate, p_value


def test_p_values_and_intervals_of_known_resamples() -> None:
    ramp = np.linspace(-1.0, 1.0, 999)
    assert p_value(ramp) == 1.0
    assert p_value(ramp + 2) == pytest.approx(2 / 1000)
    assert p_value(ramp + 0.95) == pytest.approx(p_value(-ramp - 0.95))
    # 25 of 999 at or under zero: twice 26 in 1000.
    assert p_value(ramp + 0.951) == pytest.approx(2 * 26 / 1000, abs=2 / 1000)
    assert p_value(np.full(5, math.nan)) is None
    found = estimate(0.0, np.append(ramp, math.nan))
    assert [found.low, found.high] == pytest.approx([-0.95, 0.95])
    unreached = estimate(math.inf, np.append(ramp, [math.inf] * 100))
    assert (unreached.value, unreached.high) == (None, None)
    assert unreached.low is not None
    assert estimate(1.0, np.array([math.nan])).low is None
