"""A recorded cascade to plan for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from escalade.edge.trace import Trace


@pytest.fixture
def trace(make_trace: Callable[..., Trace]) -> Trace:
    """600 queries; the device is right more often the lower its score, the cloud on nine of ten."""
    rng = np.random.default_rng(5)
    scores = rng.random(600)
    return make_trace(
        scores.tolist(),
        (rng.random(600) > scores).tolist(),
        (rng.random(600) < 0.9).tolist(),
        prices=((0.0, 0.0), (1.0, 2.0)),
    )
