"""Thresholds: the nearest rate that ties allow, its interval, and what the manifest keeps."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.artifact import Artifact
from escalade.edge.calibration import calibrate, threshold_for_rate, wilson_interval
from escalade.edge.errors import CalibrationError
from escalade.edge.manifest import read_manifest
from escalade.edge.records import Record, spread, write_records
from escalade.edge.rules import defers, mean_nll

scores = st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=1, max_size=40)


@given(scores, st.floats(0, 1))
def test_no_threshold_comes_nearer_to_the_target(values: list[float], target: float) -> None:
    found = threshold_for_rate(values, target)
    achieved = np.mean([defers(value, found.threshold) for value in values])
    assert achieved == pytest.approx(found.achieved)
    rates = {np.mean([value >= tau for value in values]) for tau in [*values, math.inf]}
    nearest = min(abs(rate - target) for rate in rates)
    assert abs(achieved - target) == pytest.approx(nearest, abs=1e-9)


def test_tied_queries_defer_together_and_the_cheaper_of_two_wins() -> None:
    assert threshold_for_rate([1.0, 1.0, 2.0, 2.0], 0.25).achieved == 0.0
    assert threshold_for_rate([1.0, 1.0, 2.0, 2.0], 0.3) == (2.0, 0.5)
    assert threshold_for_rate([1.0, 1.0], 0.9) == (1.0, 1.0)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_ends_can_be_had(target: float) -> None:
    assert threshold_for_rate([0.5, 0.1, 0.9], target).achieved == target


@pytest.mark.parametrize(
    ("values", "target", "says"),
    [
        ([], 0.5, "at least 1 query"),
        ([1.0, math.nan], 0.5, "not finite"),
        ([1.0], 1.5, r"must be in \[0, 1\], got 1.5"),
        ([1.0], -0.1, r"must be in \[0, 1\], got -0.1"),
    ],
)
def test_what_cannot_be_calibrated(values: list[float], target: float, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        threshold_for_rate(values, target)


def test_wilson_against_a_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3: 81 of 263.
    low, high = wilson_interval(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0.0, 10)[0] == 0.0
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)


def test_spread_takes_even_distances() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(3), 10) == [0, 1, 2]
    assert spread(range(3), None) == [0, 1, 2]


def test_the_artifact_keeps_its_calibration(float_artifact: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(float_artifact, tmp_path / "artifact"))
    data = tmp_path / "valid.jsonl"
    prompts = [f"g2p: {word}" for word in ("cat", "dog", "banana", "o'neil", "zebra", "apple")]
    write_records(
        data, (Record(id=prompt, task="g2p", prompt=prompt, references=[]) for prompt in prompts)
    )
    seen: list[tuple[int, int]] = []
    calibrate(folder, data, 0.5, progress=lambda done, total: seen.append((done, total)))
    deferral = read_manifest(folder).deferral
    assert seen[-1] == (6, 6)
    assert deferral.threshold is not None
    assert deferral.calibration is not None
    artifact = Artifact.open(folder)
    own = [
        mean_nll([step.logprob for step in artifact.generate(artifact.encode(prompt))])
        for prompt in prompts
    ]
    assert sum(defers(score, deferral.threshold) for score in own) == 3
    assert deferral.calibration.achieved_deferral_rate == 0.5
    assert deferral.calibration.n == 6
    low, high = deferral.calibration.interval
    assert low < 0.5 < high
