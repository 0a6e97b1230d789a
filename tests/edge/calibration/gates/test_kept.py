"""A policy in calibration: what it keeps, what then is right and costs, and what is promised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from escalade.edge import Artifact, EdgeClient, OpenOptions
from escalade.edge.base import Record, read_records, write_records
from escalade.edge.calibration import calibrate_cascade
from escalade.edge.calibration.gates.climb import Sample, climb, right_under
from escalade.edge.calibration.gates.kept import kept_of
from escalade.edge.calibration.gates.planes import line, plane
from escalade.edge.calibration.gates.within import thresholds_within
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.deferral import RatesGoal, WithinGoal
from escalade.edge.errors import CalibrationError, CascadeError
from escalade.edge.opening import open_cascade
from escalade.edge.shadow import record_trace

EPSILON, DELTA = 0.05, 0.1


def by_hand(
    sample: Sample, thresholds: list[float], kept: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Right answers and cost a query where these queries stay: each climbed by itself."""
    assert sample.right is not None
    right = spent = 0.0
    for query in range(sample.n):
        stands = 0
        for tier in range(sample.gates + 1):
            if tier >= sample.first_elsewhere and kept[query]:
                break  # nobody elsewhere is asked: the best answer so far stands
            stands = tier
            tau = thresholds[tier] if tier < sample.gates else np.inf
            level = int(np.searchsorted(sample.levels[tier], tau)) if tier < sample.gates else 0
            spent += float(sample.costs[tier][level][query])
            if sample.scores[query, tier] < tau if tier < sample.gates else True:
                break
        right += bool(sample.right[query, stands])
    return right / sample.n, spent / sample.n


@given(st.data())
def test_quality_and_cost_are_those_of_each_query_climbed_by_itself(
    samples: Any, data: st.DataObject
) -> None:
    gates = data.draw(st.integers(1, 2))
    whole = data.draw(samples(gates))
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=whole.n, max_size=whole.n)))
    sample = dataclasses.replace(
        whole,
        stays=kept.astype(float),
        first_elsewhere=data.draw(st.integers(1, gates)),
    )
    thresholds = [data.draw(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 9.0])) for _ in range(gates)]
    quality, cost = by_hand(sample, thresholds, kept)
    assert right_under(sample, thresholds).mean() == pytest.approx(quality)
    assert climb(sample, thresholds).cost.mean() == pytest.approx(cost)
    # The search sees the same.
    taus = np.array([thresholds[0]])
    swept = line(sample, thresholds, 0, taus)
    if gates == 2:
        swept = plane(sample, thresholds, 0, 1, taus, np.array([thresholds[1]]))
    assert [float(one.ravel()[0]) for one in swept] == pytest.approx([quality, cost])


def test_a_share_is_between_sending_all_and_none() -> None:
    generator = np.random.default_rng(1)
    plain = Sample(
        scores=generator.random((50, 1)),
        right=generator.random((50, 2)) < np.array([0.5, 0.9]),
        costs=[np.ones((1, 50)), np.full((1, 50), 9.0)],
    )

    def under(share: float) -> tuple[float, float]:
        sample = dataclasses.replace(plain, stays=np.full(50, share), first_elsewhere=1)
        ends = climb(sample, [0.4])
        return float(right_under(sample, [0.4]).mean()), float(ends.cost.mean())

    none, half, all_ = (np.array(under(share)) for share in (0.0, 0.5, 1.0))
    assert none == pytest.approx(
        [right_under(plain, [0.4]).mean(), climb(plain, [0.4]).cost.mean()]
    )
    assert half == pytest.approx((none + all_) / 2)
    assert all_ == pytest.approx([plain.alone()[:, 0].mean(), 1.0])


def population(n: int, share: float, generator: np.random.Generator, gates: int) -> Sample:
    """Of one score each tier; a policy keeps some, the hard ones more often."""
    score = generator.integers(8, size=n) / 8
    chances = np.stack([0.9 - 0.4 * score, *[0.9 - 0.1 * score] * (gates - 1), np.full(n, 0.9)])
    return Sample(
        scores=np.stack([score] * gates, axis=1),
        right=(generator.random((gates + 1, n)) < chances).T,
        costs=[np.full((1, n), cost) for cost in (1.0, 5.0, 50.0)[: gates + 1]],
        stays=(generator.random(n) < share * 2 * score).astype(float),
        first_elsewhere=gates,
    )


def risk(thresholds: tuple[float, ...], share: float, gates: int) -> float:
    """The true one: by how much fewer answers are right than the last tier's."""
    score = np.arange(8) / 8
    small, middle = 0.9 - 0.4 * score, 0.9 - 0.1 * score
    here = small if gates == 1 else np.where(score < thresholds[0], small, middle)
    due = np.ones(8, dtype=bool)
    for tau in thresholds:
        due &= score >= tau
    best = small if gates == 1 else middle  # of a query that is due everywhere
    there = (1 - share * 2 * score) * 0.9 + share * 2 * score * best
    return float((0.9 - np.where(due, there, here)).mean())


@pytest.mark.parametrize(
    ("gates", "share", "n", "trials"), [(1, 0.15, 2000, 60), (2, 0.2, 600, 12)]
)
def test_the_promise_is_kept_under_a_policy(gates: int, share: float, n: int, trials: int) -> None:
    failed = certified = forgotten = 0
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        test, ordering = (population(n, share, generator, gates) for _ in range(2))
        found = thresholds_within(test, ordering, EPSILON, DELTA, (-1.0,) * gates)
        certified += found is not None
        failed += found is not None and risk(found, share, gates) > EPSILON
        # As if nothing stayed: thresholds that look good enough, and are not.
        plain = [dataclasses.replace(one, stays=None) for one in (test, ordering)]
        bare = thresholds_within(plain[0], plain[1], EPSILON, DELTA, (-1.0,) * gates)
        forgotten += bare is not None and risk(bare, share, gates) > EPSILON
    most = int(stats.binom.ppf(0.999, trials, DELTA))
    assert certified > trials / 2
    assert failed <= most
    if gates == 1:
        assert forgotten > most


def test_nothing_is_promised_where_a_policy_keeps_too_much() -> None:
    sample = population(2000, 0.5, np.random.default_rng(1), 1)
    assert risk((-1.0,), 0.5, 1) > EPSILON
    assert thresholds_within(sample, None, EPSILON, DELTA, (-1.0,)) is None


@pytest.fixture
def write(
    artifact: Artifact, scripted_cloud: Any, tmp_path: Path
) -> Callable[[str], tuple[Path, Path]]:
    """A cascade's file of a policy, and a trace that was recorded without it."""
    words = [f"{'abcdefgh'[k % 8]}{'rstu'[k // 8]}" for k in range(32)]
    path, data, trace = (tmp_path / name for name in ("c.toml", "d.jsonl", "t.jsonl"))
    tiers = (
        f'[[tiers]]\nname = "device"\nmembers = ["{artifact.folder}"]\ngate = {{ rule = "mean" }}\n'
        f'[[tiers]]\naddress = "{scripted_cloud.address}"\n'
    )
    said = [artifact.text_of(artifact.generate(artifact.encode(f"g2p: {one}"))) for one in words]
    write_records(
        data,
        [
            Record(
                id=str(k),
                task="odd" if k % 4 == 1 else "even",
                prompt=f"g2p: {word}",
                references=[said[k] if k % 3 == 0 else "large answer"],
            )
            for k, word in enumerate(words)
        ],
    )
    path.write_text(tiers)
    with EdgeClient.open(path, calibrated=False) as client:
        record_trace(client, read_records(data), trace)

    def write(policy: str) -> tuple[Path, Path]:
        path.write_text(f"{tiers}{policy}")
        return path, trace

    return write


def calibrated(path: Path, trace: Path, goal: Any, blocked: float = 0.0) -> Any:
    cascade = open_cascade(path, OpenOptions(), calibrated=False)
    try:
        return calibrate_cascade(path, cascade, trace, goal, blocked=blocked)
    finally:
        cascade.close()


def test_a_cascades_file_is_calibrated_under_its_policy(
    write: Callable[[str], tuple[Path, Path]],
) -> None:
    goal = RatesGoal(targets=[1.0])
    plain = calibrated(*write(""), goal)
    assert plain.policy is None
    path, trace = write("[policy]\nstay_tasks = ['odd']\nstay_patterns = ['g2p: a']\n")
    found = calibrated(path, trace, goal)
    assert found.policy is not None
    # A quarter by task; an eighth by pattern, none of it of that quarter or all of it.
    assert found.policy.kept == pytest.approx(
        np.mean([k % 4 == 1 or k % 8 == 0 for k in range(32)])
    )
    assert found.policy.blocked == 0.0
    for one, other in ((found.fit, plain.fit), (found.held_out, plain.held_out)):
        assert one.tier_qualities == other.tier_qualities  # alone they are what they were
        assert one.gates == other.gates
        assert one.cost < other.cost
        assert one.last_tier_cost == other.last_tier_cost
    everything = calibrated(path, trace, goal, blocked=1.0)
    assert everything.fit.quality == pytest.approx(everything.fit.tier_qualities[0])
    assert read_cascade_file(path).calibration == everything


def test_another_policy_than_was_calibrated_does_not_open(
    write: Callable[[str], tuple[Path, Path]],
) -> None:
    path, trace = write("[policy]\nstay_tasks = ['odd']\nmin_battery = 0.2\n")
    calibrated(path, trace, WithinGoal(epsilon=0.5, delta=0.1))
    text = path.read_text()
    path.write_text(text.replace("min_battery = 0.2", "min_battery = 0.9"))
    read_cascade_file(path)  # no promise was about that
    for other in (
        text.replace("['odd']", "['even']"),
        text.replace("stay_tasks = ['odd']", ""),
        text.replace("min_battery = 0.2", "stay_patterns = ['x']"),
    ):
        path.write_text(other)
        with pytest.raises(
            CascadeError, match="policy: stay_patterns, stay_tasks, .* calibrate ag"
        ):
            read_cascade_file(path)


def test_what_a_policy_kept_while_it_was_recorded_is_no_fair_sample(
    write: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    path, _ = write("[policy]\nstay_tasks = ['odd']\n")
    with EdgeClient.open(path, calibrated=False) as client:
        record_trace(client, read_records(tmp_path / "d.jsonl"), tmp_path / "kept.jsonl")
    with pytest.raises(CalibrationError, match="a policy kept 8 of 32 queries from tier 'cloud'"):
        calibrated(path, tmp_path / "kept.jsonl", RatesGoal(targets=[0.5]))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(CalibrationError, match="blocked queries must be in"):
        kept_of(None, None, [], share)  # type: ignore[arg-type]
