"""Calibrating a cascade: recorded in shadow mode, set, written, opened again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from escalade.edge import Artifact, Cascade, EdgeClient, OpenOptions
from escalade.edge.base import Record, read_records, sha256_of
from escalade.edge.calibration import answers_in, calibrate, calibrate_cascade
from escalade.edge.calibration.gates.calibration import find_thresholds
from escalade.edge.calibration.gates.climb import Sample, climb
from escalade.edge.calibration.gates.recorded import RecordedQueries, recorded_queries
from escalade.edge.calibration.halves import halves_of
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.deferral import (
    BudgetGoal,
    CascadeCalibration,
    CascadeGoal,
    QualityGoal,
    RateGoal,
    RatesGoal,
    Router,
    WithinGoal,
)
from escalade.edge.errors import CalibrationError, CascadeError
from escalade.edge.opening import open_cascade
from escalade.edge.shadow import record_trace
from escalade.edge.trace import flops_of, read_trace


@pytest.fixture
def path(recording: Any, tmp_path: Path) -> Path:
    return Path(shutil.copy(recording.cascade, tmp_path / "cascade.toml"))


@pytest.fixture
def cascade(path: Path) -> Iterator[Cascade]:
    opened = open_cascade(path, OpenOptions(threads=1), calibrated=False)
    yield opened
    opened.close()


def made_up(
    n: int, *, seed: int = 1, judged: bool = True, identified: bool = True
) -> RecordedQueries:
    """Queries of a cascade of three tiers, each better than the one below and surer when right."""
    generator = np.random.default_rng(seed)
    hard = generator.random((n, 1))
    right = generator.random((n, 3)) > hard * np.array([1.0, 0.6, 0.2])
    scores = hard + 0.2 * generator.random((n, 2))
    costs = [np.full((1, n), cost) for cost in (1.0, 5.0, 50.0)]
    sample = Sample(scores=scores, right=right if judged else None, costs=costs)
    return RecordedQueries(
        sample=sample,
        unit="flops",
        source=Path("made-up.jsonl"),
        sha256="0" * 64,
        asked=n + 3,
        identified=identified,
        prompts=[f"{seed}: {number}" for number in range(n)],
    )


def recount(queries: RecordedQueries, found: CascadeCalibration, part: list[int]) -> dict[str, Any]:
    """What a calibration says of a part of the queries, counted again in plain Python."""
    sample, reached, deferred, right, spent = queries.sample, [0, 0], [0, 0], 0, 0.0
    assert sample.right is not None
    for query in part:
        tier = 0
        spent += sample.costs[0][0][query]
        while tier < 2:
            reached[tier] += 1
            if sample.scores[query, tier] < found.thresholds[tier]:
                break
            deferred[tier] += 1
            tier += 1
            spent += sample.costs[tier][0][query]
        right += bool(sample.right[query, tier])
    return {
        "n": len(part),
        "reached": reached,
        "rates": [a / b if b else 0.0 for a, b in zip(deferred, reached, strict=True)],
        "quality": right / len(part),
        "cost": pytest.approx(spent / len(part)),
        "tier_qualities": [float(sample.right[part, tier].mean()) for tier in range(3)],
    }


def said(measured: Any) -> dict[str, Any]:
    return {
        "n": measured.n,
        "reached": [gate.reached for gate in measured.gates],
        "rates": [gate.deferral_rate for gate in measured.gates],
        "quality": measured.quality,
        "cost": measured.cost,
        "tier_qualities": measured.tier_qualities,
    }


@pytest.mark.parametrize(
    "goal",
    [
        RatesGoal(targets=[0.4]),
        RatesGoal(targets=[0.5, 0.25]),
        BudgetGoal(most=20.0),
        QualityGoal(target=0.8),
        WithinGoal(epsilon=0.1, delta=0.1),
    ],
    ids=["rate", "rates", "budget", "quality", "within"],
)
def test_what_is_said_of_the_thresholds_is_what_they_do(
    cascade: Cascade, goal: CascadeGoal
) -> None:
    queries = made_up(1200)
    found = find_thresholds(cascade, queries, goal)
    assert found == msgspec.structs.replace(
        find_thresholds(cascade, queries, goal), date=found.date
    )
    halves = halves_of(1200, seed=1)
    ordered = 300 if isinstance(goal, WithinGoal) else 0
    assert said(found.fit) == recount(queries, found, halves.fit[ordered:])
    assert found.held_out is not None
    assert said(found.held_out) == recount(queries, found, halves.held_out)
    assert (found.goal, found.cost, found.rules) == (goal, "flops", ["mean", "vote"])
    assert (found.trained, found.ordered, found.left_out) == (0, ordered, 3)
    assert found.certified == (True if isinstance(goal, WithinGoal) else None)
    assert found.fit.last_tier_cost == 50.0
    low, high = found.fit.gates[0].deferral_interval
    assert low < found.fit.gates[0].deferral_rate < high
    if isinstance(goal, RatesGoal):
        for gate, target in zip(found.fit.gates, (goal.targets * 2)[:2], strict=True):
            assert gate.deferral_rate == pytest.approx(target, abs=0.5 / gate.reached)
    if isinstance(goal, BudgetGoal):
        assert found.fit.cost <= goal.most
    if isinstance(goal, QualityGoal):
        assert found.fit.quality is not None
        assert found.fit.quality >= goal.target


def test_what_is_not_certified_defers_everything(cascade: Cascade) -> None:
    queries = made_up(60)
    found = find_thresholds(cascade, queries, WithinGoal(epsilon=0.01, delta=0.1))
    assert found.certified is False
    assert found.thresholds == [0.0, 0.0]
    assert [gate.deferral_rate for gate in found.fit.gates] == [1.0, 1.0]
    assert found.fit.tier_qualities is not None
    assert found.fit.quality == found.fit.tier_qualities[-1]


def test_the_held_out_half_has_no_say_in_a_guarantee(cascade: Cascade) -> None:
    queries = made_up(800)
    goal, halves = WithinGoal(epsilon=0.1, delta=0.1), halves_of(800, seed=1)
    found = find_thresholds(cascade, queries, goal)
    assert queries.sample.right is not None
    spoiled = queries.sample.right.copy()
    spoiled[halves.held_out] = False
    others = queries._replace(
        sample=Sample(scores=queries.sample.scores, right=spoiled, costs=queries.sample.costs)
    )
    assert find_thresholds(cascade, others, goal).thresholds == found.thresholds


@pytest.mark.parametrize(
    ("queries", "goal", "says"),
    [
        (
            made_up(40),
            RatesGoal(targets=[1.5]),
            r"target deferral rate must be in \[0, 1\], got 1.5",
        ),
        (
            made_up(40),
            RatesGoal(targets=[0.1] * 3),
            "must be 1 for all gates, or 2, one for",
        ),
        (made_up(40), BudgetGoal(most=-1.0), "budget must be at least 0 and finite, got -1.0"),
        (made_up(40), BudgetGoal(most=0.5), "cost at 0.5 FLOPs a query: the least is 1, at a qual"),
        (made_up(40), QualityGoal(target=2.0), r"quality must be in \[0, 1\], got 2.0"),
        (made_up(40), QualityGoal(target=1.0), "no thresholds give a quality of 1: the best is 0."),
        (made_up(40), WithinGoal(epsilon=0.0, delta=0.1), r"epsilon must be in \(0, 1\), got 0.0"),
        (made_up(40, judged=False), QualityGoal(target=0.5), "from queries with references"),
        (made_up(1), WithinGoal(epsilon=0.1, delta=0.1), "too few to divide: 1 query"),
        (
            made_up(40, identified=False),
            WithinGoal(epsilon=0.1, delta=0.1),
            "does not say which programs it was recorded with",
        ),
    ],
)
def test_what_cannot_be_found(
    cascade: Cascade, queries: RecordedQueries, goal: CascadeGoal, says: str
) -> None:
    with pytest.raises(CalibrationError, match=says):
        find_thresholds(cascade, queries, goal)


def test_one_query_sets_thresholds_and_checks_nothing(cascade: Cascade) -> None:
    one = made_up(5)
    found = find_thresholds(
        cascade, one._replace(sample=one.sample.take([0])), RatesGoal(targets=[1.0])
    )
    assert (found.fit.n, found.held_out) == (1, None)


def test_a_cascade_is_recorded_calibrated_and_opened(
    recording: Any, path: Path, cascade: Cascade
) -> None:
    with pytest.raises(CalibrationError, match="the gate of tier 'small': not calibrated: run"):
        EdgeClient.open(path)
    with pytest.raises(CalibrationError, match="opened to be calibrated"):
        EdgeClient(cascade).ask("g2p: cat")
    before = path.read_text()
    goal = RatesGoal(targets=[0.5])
    found = calibrate_cascade(path, cascade, recording.trace, goal)
    content = read_cascade_file(path)
    assert content.calibration == found
    assert (found.data, found.data_sha256) == ("trace.jsonl", sha256_of(recording.trace))
    assert [table.gate and table.gate.threshold for table in content.tiers] == [
        *found.thresholds,
        None,
    ]
    after = path.read_text()
    for comment in ("# what we are billed in", "# On the device.", "# equation 5", "# The end."):
        assert comment in after
    kept = [line for line in before.splitlines() if line and line not in after.splitlines()]
    assert len(kept) == 6  # five members, and a gate
    # A query ends where it was said to end, and takes what it was said to take.
    with EdgeClient.open(path, OpenOptions(threads=1)) as client:
        queries = recorded_queries(client.cascade, content, recording.trace, judged=True)
        ends, infos = climb(queries.sample, found.thresholds), client.trace_header().tiers
        records = read_trace(recording.trace).records
        for record, tier, cost in list(zip(records, *ends, strict=True))[:30]:
            answer = client.ask(record.prompt)
            assert answer.answered_by == tier
            assert cost == sum(
                flops_of(one, info.members[one.member])
                for said, info in zip(answer.tiers, infos, strict=True)
                if said is not None
                for one in said.members
            )
        assert len(set(ends.answered_by.tolist())) > 1
    # And once more: nothing is added.
    again = calibrate_cascade(path, cascade, recording.trace, goal)
    assert again == msgspec.structs.replace(found, date=again.date)
    assert path.read_text() == after.replace(found.date, again.date)


def test_a_member_that_was_changed_is_noticed(
    recording: Any, folders: list[Path], tmp_path: Path
) -> None:
    small = Path(shutil.copytree(folders[2], tmp_path / "small"))
    path = tmp_path / "cascade.toml"
    text = recording.cascade.read_text()
    path.write_text(text.replace(f'members = ["{folders[2]}"]', 'members = ["small"]'))
    opened = open_cascade(path, OpenOptions(threads=1), calibrated=False)
    calibrate_cascade(path, opened, recording.trace, RatesGoal(targets=[0.5]))
    open_cascade(path, OpenOptions(threads=1)).close()
    manifest = small / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(CascadeError, match="small was changed: .* calibrate again"):
        open_cascade(path, OpenOptions(threads=1))
    again = open_cascade(path, OpenOptions(threads=1), calibrated=False)
    calibrate_cascade(path, again, recording.trace, RatesGoal(targets=[0.5]))
    open_cascade(path, OpenOptions(threads=1)).close()


def test_two_tiers_are_set_as_the_artifact_alone(
    recording: Any, folders: list[Path], tmp_path: Path
) -> None:
    """The same rule on the same half of the same queries."""
    small = Path(shutil.copytree(folders[2], tmp_path / "small"))
    path, trace = tmp_path / "cascade.toml", tmp_path / "trace.jsonl"
    path.write_text(
        f'[[tiers]]\nmembers = ["small"]\n[[tiers]]\nname = "large"\nmembers = ["{folders[0]}"]\n'
    )
    with EdgeClient.open(path, calibrated=False) as client:
        record_trace(client, read_records(recording.cascade.parent / "data.jsonl"), trace)
    opened = open_cascade(path, OpenOptions(threads=1), calibrated=False)
    artifact = Artifact.open(small, threads=1)
    for ours, theirs in (
        (RatesGoal(targets=[0.3]), RateGoal(target=0.3)),
        (WithinGoal(epsilon=0.3, delta=0.3), WithinGoal(epsilon=0.3, delta=0.3)),
    ):
        found = calibrate_cascade(path, opened, trace, ours)
        alone = calibrate(artifact, answers_in(artifact, trace, judged=True), theirs).deferral
        assert found.thresholds == [alone.threshold]
        assert alone.calibration is not None
        assert found.certified == alone.calibration.certified
        assert found.fit.quality == alone.calibration.fit.quality
        shutil.copytree(folders[2], small, dirs_exist_ok=True)


def test_a_router_sees_none_of_its_queries_again(
    recording: Any, folders: list[Path], tmp_path: Path
) -> None:
    small = Path(shutil.copytree(folders[2], tmp_path / "small"))
    path = tmp_path / "cascade.toml"
    path.write_text(
        '[[tiers]]\nmembers = ["small"]\n'
        f'[[tiers]]\nname = "three"\nmembers = ["{folders[0]}", "{folders[2]}", "{folders[1]}"]\n'
        f'gate = {{ rule = "vote" }}\n[[tiers]]\nname = "large"\nmembers = ["{folders[0]}"]\n'
    )
    artifact = Artifact.open(small, threads=1)
    learned = Router([(-np.ones((1, 8)), np.zeros(1))])
    goal = RatesGoal(targets=[0.5])
    calibrate(
        artifact,
        answers_in(artifact, recording.trace, judged=True),
        RateGoal(target=0.5),
        rule=learned,
    )
    opened = open_cascade(path, OpenOptions(threads=1), calibrated=False)
    found = calibrate_cascade(path, opened, recording.trace, goal)
    halves = halves_of(80, seed=1, train=True)
    assert found.rules == ["router", "vote"]
    assert (found.trained, found.fit.n) == (40, len(halves.fit))
    # However they are divided, whatever file they are in, and beside others.
    queries = recorded_queries(opened, read_cascade_file(path), recording.trace, judged=True)
    queries = queries._replace(sha256="1" * 64)
    assert find_thresholds(opened, queries, goal, seed=2).trained == 40
    half = [
        prompt if number % 2 else f"new {number}" for number, prompt in enumerate(queries.prompts)
    ]
    assert 0 < find_thresholds(opened, queries._replace(prompts=half), goal).trained < 40
    new = [f"new {number}" for number in range(80)]
    assert find_thresholds(opened, queries._replace(prompts=new), goal).trained == 0


def test_what_has_no_threshold_yet_is_recorded_all_the_same(
    scripted_cloud: Any, artifact: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        EdgeClient.open(artifact.folder, cloud=scripted_cloud.address)
    record = Record(id="a", task="g2p", prompt="g2p: cat", references=["large answer"])
    with EdgeClient.open(artifact.folder, cloud=scripted_cloud.address, calibrated=False) as client:
        record_trace(client, [record], tmp_path / "trace.jsonl")
    header, (recorded,) = read_trace(tmp_path / "trace.jsonl")
    assert [tier.threshold for tier in header.tiers] == [None, None]
    small, large = recorded.tiers
    assert small is not None
    assert large is not None
    assert (small.score is not None, large.correct) == (True, True)
