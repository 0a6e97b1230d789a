"""Queries that a made-up cascade has answered, and what thresholds do there by plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from escalade.edge import EdgeClient
from escalade.edge.base import Record, write_records
from escalade.edge.calibration.gates.climb import Sample
from escalade.edge.shadow import record_trace


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


LETTERS = "abcdefghijklmnopqrstuvwxyz"

CASCADE = """\
currency = "EUR"  # what we are billed in

# On the device.
[[tiers]]
name = "small"
members = ["{2}"]
gate = {{ rule = "mean" }}  # equation 5

[[tiers]]
name = "three"
members = [
  "{0}",  # asked first
  {{ artifact = "{2}", prompt_price = 2.0, generated_price = 4.0 }},
  "{1}",
]
  [tiers.gate]  # they vote
  rule = "vote"

[[tiers]]
name = "large"
members = ["{0}"]
# The end.
"""


class Recording(NamedTuple):
    """A cascade of three tiers on this device, not calibrated, and a trace of it."""

    cascade: Path
    trace: Path


@pytest.fixture(scope="session")
def recording(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """80 queries; sometimes only the small model is right, sometimes only the large."""
    home = tmp_path_factory.mktemp("recording")
    path, data = home / "cascade.toml", home / "data.jsonl"
    path.write_text(CASCADE.format(*folders))
    generator = np.random.default_rng(1)
    words = ["".join(generator.choice(list(LETTERS), size=4)) for _ in range(80)]
    with EdgeClient.open(path, calibrated=False) as client:
        artifacts = [client.cascade.tiers[place].opened[0].artifact for place in (0, 2)]

        def said(place: int, prompt: str) -> str:
            artifact = artifacts[place]
            return artifact.text_of(artifact.generate(artifact.encode(prompt)))

        records = [
            Record(
                id=str(number),
                task="g2p",
                prompt=f"g2p: {word}",
                references=[said(int(number % 4 > 0), f"g2p: {word}")],
            )
            for number, word in enumerate(words)
        ]
        write_records(data, records)
        record_trace(client, records, home / "trace.jsonl")
    return Recording(path, home / "trace.jsonl")
