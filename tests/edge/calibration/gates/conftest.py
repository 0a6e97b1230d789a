"""Queries that a made-up cascade has answered, and what thresholds do there by plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st

from escalade.edge.calibration.gates.climb import Sample


@dataclass
class Reference:
    """Every vector of thresholds that does something of its own: (thresholds, quality, cost)."""

    sample: Sample

    def climb(self, thresholds: Sequence[float]) -> list[tuple[int, float]]:
        """The tier that answers each query, and the cost of all that it came to."""
        sample, ends = self.sample, []
        for query in range(sample.n):
            spent = 0.0
            for tier in range(sample.gates + 1):
                tau = thresholds[tier] if tier < sample.gates else -math.inf
                below = [] if tier == sample.gates else list(sample.levels[tier])
                level = sum(one < tau for one in below)
                spent += float(sample.costs[tier][level][query])
                if tier == sample.gates or sample.scores[query, tier] < tau:
                    ends.append((tier, spent))
                    break
        return ends

    def does(self, thresholds: Sequence[float]) -> tuple[float, float]:
        """Quality and mean cost."""
        assert self.sample.right is not None
        ends = self.climb(thresholds)
        right = sum(bool(self.sample.right[query, tier]) for query, (tier, _) in enumerate(ends))
        return right / len(ends), sum(spent for _, spent in ends) / len(ends)

    def every(self) -> Iterator[tuple[tuple[float, ...], float, float]]:
        """All there are."""
        each = []
        for column, levels in zip(self.sample.scores.T.tolist(), self.sample.levels, strict=True):
            known = sorted({*column, *levels.tolist()})
            each.append([*known, math.nextafter(known[-1], math.inf)])
        for thresholds in itertools.product(*each):
            yield thresholds, *self.does(thresholds)


@pytest.fixture(scope="session")
def reference() -> Callable[[Sample], Reference]:
    return Reference


@pytest.fixture(scope="session")
def samples() -> Callable[..., st.SearchStrategy[Sample]]:
    """Small samples with many ties; the cost of some tiers depends on their threshold."""

    @st.composite
    def draw(draw: st.DrawFn, gates: int, most: int = 7) -> Sample:
        n = draw(st.integers(1, most))
        generator = np.random.default_rng(draw(st.integers(0, 2**32)))
        costs, levels = [], []
        for _ in range(gates):
            several = draw(st.integers(0, 2))
            levels.append(np.arange(several) / 2)
            costs.append(generator.integers(0, 9, size=(several + 1, n)).astype(float))
        costs.append(generator.integers(0, 20, size=(1, n)).astype(float))
        return Sample(
            scores=generator.integers(0, 4, size=(n, gates)) / 2,
            right=generator.random((n, gates + 1)) < 0.5,
            costs=costs,
            levels=levels,
        )

    return draw
