"""Zoos in numbers: who agrees with whom, who is right, and what that costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from escalade.simulator.ensembles import Zoo


def _make_zoo(
    models: int,
    queries: int,
    *,
    seed: int = 0,
    side_by_side: bool = False,
    cost: str = "flops",
    answers: int = 4,
) -> Zoo:
    rng = np.random.default_rng([models, queries, seed])
    said = rng.integers(0, answers, (models, queries))
    # Some models are better than others: so often is what they say made the right answer, 0.
    skill = rng.random((models, 1))
    said[rng.random((models, queries)) < skill * 0.7] = 0
    base = rng.integers(1, 9, (models, 1)).astype(float)
    return Zoo(
        names=[f"m{k}" for k in range(models)],
        said=said,
        right=said == 0,
        costs=base * rng.integers(1, 4, (models, queries)),
        cost=cost,  # type: ignore[arg-type]
        unit="FLOPs",
        side_by_side=side_by_side,
    )


@pytest.fixture(scope="session")
def make_zoo() -> Callable[..., Zoo]:
    """`(models, queries, *, seed, side_by_side, cost, answers)`: all at random, but for that."""
    return _make_zoo
