"""Calibrating an artifact: what is read, what is measured, what the manifest keeps."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from escalade.edge.artifact.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from escalade.edge.base.files import sha256_of
from escalade.edge.calibration.calibration import calibrate
from escalade.edge.calibration.data import ScoredQueries
from escalade.edge.calibration.early import EarlyGoal
from escalade.edge.calibration.halves import halves_of
from escalade.edge.calibration.thresholds import Judged
from escalade.edge.deferral.early import EarlyStop
from escalade.edge.deferral.entry import (
    CalibrationEntry,
    Measured,
    QualityGoal,
    RateGoal,
    WithinGoal,
    rule_of,
)
from escalade.edge.deferral.router import Router
from escalade.edge.deferral.rules import defers, rule_named
from escalade.edge.errors import ArtifactError, CalibrationError
from escalade.edge.generation.artifact import Artifact


@pytest.fixture
def folder(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


@pytest.fixture
def artifact(folder: Path) -> Artifact:
    return Artifact.open(folder)


def made_up(n: int, seed: int = 1) -> ScoredQueries:
    """Answers of a small model that knows when it does not know, and a better large one."""
    generator = np.random.default_rng(seed)
    hardness = generator.random(n)
    logprobs = [
        (-generator.exponential(0.02 + hard, size=generator.integers(2, 12))).tolist()
        for hard in hardness
    ]
    return ScoredQueries(
        logprobs=logprobs,
        longest=[12] * n,
        judged=Judged(generator.random(n) > hardness, generator.random(n) > 0.5 * hardness),
        prompts=[f"{seed}: {number}" for number in range(n)],
        source=Path("made-up.jsonl"),
        sha256="0" * 64,
        records=[],
    )


def router(seed: int = 1) -> Router:
    generator = np.random.default_rng(seed)
    return Router([(-np.abs(generator.normal(size=(1, 12))), np.zeros(1))])


def kept(manifest: Manifest) -> CalibrationEntry:
    assert manifest.deferral.calibration is not None
    return manifest.deferral.calibration


def recount(answers: ScoredQueries, manifest: Manifest, part: list[int]) -> Measured:
    """Everything a manifest says of one half, counted again in plain Python."""
    tau = manifest.deferral.threshold
    assert tau is not None
    rule = rule_named(manifest.deferral.rule)
    deferred = [defers(rule(answers.logprobs[index]), tau) for index in part]
    spared = total = 0
    for index in part:
        one, stop = answers.logprobs[index], EarlyStop(rule, tau, answers.longest[index])
        at = next((n for n in range(1, len(one)) if stop(one[:n])), len(one))
        spared += len(one) - at
        total += len(one)
    assert answers.judged is not None
    small = [bool(answers.judged.small[index]) for index in part]
    large = [bool(answers.judged.large[index]) for index in part]
    right = [b if d else a for a, b, d in zip(small, large, deferred, strict=True)]
    half = kept(manifest).fit if part == halves_of(1000, seed=1).fit else kept(manifest).held_out
    assert half is not None
    return msgspec.structs.replace(
        half,
        n=len(part),
        deferral_rate=sum(deferred) / len(part),
        tokens_saved=pytest.approx(spared / total, abs=1e-12),
        quality=sum(right) / len(part),
        small_quality=sum(small) / len(part),
        large_quality=sum(large) / len(part),
    )


@pytest.mark.parametrize(
    "goal",
    [RateGoal(target=0.3), QualityGoal(target=0.7), WithinGoal(epsilon=0.05, delta=0.1)],
    ids=["rate", "quality", "within"],
)
@pytest.mark.parametrize("rule", ["mean", "min"])
def test_the_manifest_says_what_the_threshold_does(
    artifact: Artifact, goal: RateGoal | QualityGoal | WithinGoal, rule: str
) -> None:
    answers = made_up(1000)
    written = calibrate(artifact, answers, goal, rule=rule)
    manifest = read_manifest(artifact.folder)
    assert manifest == written
    entry = kept(manifest)
    halves = halves_of(1000, seed=1)
    assert entry.fit == recount(answers, manifest, halves.fit)
    assert entry.held_out == recount(answers, manifest, halves.held_out)
    assert entry.goal == goal
    assert (entry.data, entry.seed, entry.trained) == ("made-up.jsonl", 1, 0)
    assert entry.certified == (True if isinstance(goal, WithinGoal) else None)
    if isinstance(goal, RateGoal):
        assert entry.fit.deferral_rate == 0.3
    if isinstance(goal, QualityGoal):
        assert entry.fit.quality is not None
        assert entry.fit.quality >= 0.7
    low, high = entry.fit.deferral_interval
    assert low < entry.fit.deferral_rate < high


def test_every_query_is_in_one_set() -> None:
    for n in range(1, 12):
        for train in (False, True):
            halves = halves_of(n, seed=3, train=train)
            assert sorted([*halves.train, *halves.fit, *halves.held_out]) == list(range(n))
            assert len(halves.train) == ((n + 1) // 2 if train else 0)
            assert 0 <= len(halves.fit) - len(halves.held_out) <= 1
    assert halves_of(50, seed=1) == halves_of(50, seed=1)
    assert halves_of(50, seed=1) != halves_of(50, seed=2)


def test_what_is_not_certified_defers_everything(artifact: Artifact) -> None:
    manifest = calibrate(artifact, made_up(40), WithinGoal(epsilon=0.01, delta=0.1))
    entry = kept(manifest)
    assert entry.certified is False
    assert entry.fit.deferral_rate == 1.0
    assert manifest.deferral.threshold == 0.0
    assert entry.fit.quality == entry.fit.large_quality
    learned = router()
    manifest = calibrate(artifact, made_up(40), WithinGoal(epsilon=0.01, delta=0.1), rule=learned)
    assert manifest.deferral.threshold == learned.lowest
    assert kept(manifest).fit.deferral_rate == 1.0


def test_an_early_stop_is_kept_and_goes_with_its_threshold(artifact: Artifact) -> None:
    goal, early = RateGoal(target=0.4), EarlyGoal(0.05, 0.1)
    manifest = calibrate(artifact, made_up(600), goal, early=early)
    found = read_manifest(artifact.folder).deferral.early
    assert found == manifest.deferral.early
    assert found is not None
    assert (found.miss_rate, found.delta, found.n) == (0.05, 0.1, 300)
    held_out = kept(manifest).held_out
    assert held_out is not None
    assert found.tokens_saved > held_out.tokens_saved
    assert calibrate(artifact, made_up(600), goal).deferral.early is None


def test_a_router_comes_with_its_rule_and_goes_with_it(artifact: Artifact) -> None:
    folder, learned = artifact.folder, router()
    programs = {name: (folder / name).read_bytes() for name in artifact.manifest.files}
    calibrate(artifact, made_up(400), QualityGoal(target=0.7), rule=learned)
    manifest = read_manifest(folder)
    assert (manifest.deferral.rule, manifest.deferral.router) == ("router", "router.json")
    assert {"router.json", "router.prompts"} <= set(manifest.files)
    assert (folder / "router.prompts").stat().st_size == 8 * 200
    assert kept(manifest).trained == 200
    assert kept(manifest).fit.n == 100
    rule = rule_of(folder, manifest.deferral)
    assert rule([-0.1, -2.0]) == learned([-0.1, -2.0])

    # Another threshold of the same router: its queries need no router to be trained.
    others = made_up(400, seed=2)._replace(sha256="1" * 64)
    again = calibrate(Artifact.open(folder), others, RateGoal(target=0.5))
    assert again.deferral.router_training == manifest.deferral.router_training
    assert (again.deferral.router, kept(again).trained) == ("router.json", 0)
    assert read_manifest(folder) == again

    other = router(seed=2)
    calibrate(Artifact.open(folder), made_up(400), RateGoal(target=0.5), rule=other)
    manifest = read_manifest(folder)
    assert rule_of(folder, manifest.deferral)([-1.0]) == other([-1.0])

    calibrate(Artifact.open(folder), made_up(400), RateGoal(target=0.5), rule="sum")
    manifest = read_manifest(folder)
    assert (manifest.deferral.rule, manifest.deferral.router) == ("sum", None)
    assert {name: (folder / name).read_bytes() for name in manifest.files} == programs
    assert sorted(path.name for path in folder.iterdir()) == sorted([*programs, MANIFEST_NAME])
    assert Artifact.open(folder).manifest == manifest
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_kept_router_sees_none_of_its_queries_again(artifact: Artifact) -> None:
    goal, answers = WithinGoal(epsilon=0.3, delta=0.1), made_up(400)
    first = calibrate(artifact, answers, RateGoal(target=0.5), rule=router())
    again = calibrate(Artifact.open(artifact.folder), answers, goal)
    halves = halves_of(400, seed=1, train=True)
    assert (kept(again).trained, kept(again).fit.n) == (200, len(halves.fit))
    assert again.deferral.router_training == first.deferral.router_training
    # Whoever is in which half, whatever file they are in, fewer of them, and beside others.
    opened = Artifact.open(artifact.folder)
    new = answers._replace(prompts=[f"new {number}" for number in range(400)])
    both = [*answers.prompts[:300], *new.prompts[300:]]
    in_300 = sum(index < 300 for index in halves.train)
    for other, seed, trained in [
        (answers._replace(sha256="1" * 64), 2, 200),
        (answers.subset(range(300))._replace(left_out=7), 3, in_300),
        (answers.subset(range(399, -1, -1)), 1, 200),
        (answers._replace(prompts=both), 1, in_300),
        (new, 1, 0),
    ]:
        entry = kept(calibrate(opened, other, goal, seed=seed))
        held_out = entry.held_out
        assert held_out is not None
        assert (entry.trained, entry.fit.n + held_out.n) == (trained, len(other.prompts) - trained)
    only = answers.subset(halves.train)
    with pytest.raises(CalibrationError, match="200 queries, 200 of which the router has learned"):
        calibrate(opened, only, goal)


def test_prompts_that_come_again_train_or_judge_and_never_both(artifact: Artifact) -> None:
    answers = made_up(400)
    twice = answers._replace(prompts=[prompt.replace("9", "8") for prompt in answers.prompts])
    first = calibrate(artifact, twice, RateGoal(target=0.5), rule=router())
    assert kept(first).trained > 200
    again = calibrate(Artifact.open(artifact.folder), twice, RateGoal(target=0.5))
    assert kept(again).fit == kept(first).fit
    assert kept(again).trained == kept(first).trained


def test_a_router_of_unknown_training_promises_nothing(artifact: Artifact) -> None:
    folder, goal = artifact.folder, WithinGoal(epsilon=0.3, delta=0.1)
    manifest = calibrate(artifact, made_up(400), RateGoal(target=0.5), rule=router())
    unknown = msgspec.structs.replace(manifest.deferral, router_training=None)
    write_manifest(folder, msgspec.structs.replace(manifest, deferral=unknown))
    opened = Artifact.open(folder)
    with pytest.raises(CalibrationError, match="what its router was trained on"):
        calibrate(opened, made_up(400), goal)
    assert kept(calibrate(opened, made_up(400), RateGoal(target=0.5))).trained == 0
    # An earlier version kept the file's digest, and not whose prompts were in it.
    training = manifest.deferral.router_training
    assert training is not None
    early = msgspec.structs.replace(training, prompts=None)
    unknown = msgspec.structs.replace(manifest.deferral, router_training=early)
    write_manifest(folder, msgspec.structs.replace(manifest, deferral=unknown))
    opened = Artifact.open(folder)
    for sha256, aim in [("1" * 64, goal), ("0" * 64, RateGoal(target=0.5))]:
        with pytest.raises(CalibrationError, match="what its router was trained on"):
            calibrate(opened, made_up(400)._replace(sha256=sha256), aim)


def test_an_artifact_with_other_files_by_now_is_left_alone(artifact: Artifact) -> None:
    """Two that calibrate at once: the manifest of one does not meet the router of the other."""
    late = Artifact.open(artifact.folder)
    calibrate(artifact, made_up(40), RateGoal(target=0.5), rule=router())
    before = (artifact.folder / MANIFEST_NAME).read_bytes()
    with pytest.raises(CalibrationError, match="was changed while it was calibrated"):
        calibrate(late, made_up(40), RateGoal(target=0.5))
    assert (artifact.folder / MANIFEST_NAME).read_bytes() == before
    Artifact.open(artifact.folder)


def test_through_a_link_the_artifact_itself_is_calibrated(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(folder)
    calibrate(Artifact.open(link), made_up(40), RateGoal(target=0.5), rule=router())
    assert link.is_symlink()
    assert read_manifest(folder).deferral.rule == "router"


def test_an_installed_version_is_left_alone(folder: Path) -> None:
    version = folder.replace(folder.parent / sha256_of(folder / MANIFEST_NAME))
    before = (version / MANIFEST_NAME).read_bytes()
    with pytest.raises(CalibrationError, match="an installed version"):
        calibrate(Artifact.open(version), made_up(40), RateGoal(target=0.5))
    assert (version / MANIFEST_NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "goal", "options", "says"),
    [
        ({}, RateGoal(target=1.5), {}, r"target deferral rate must be in \[0, 1\], got 1.5"),
        ({}, QualityGoal(target=-0.1), {}, r"quality must be in \[0, 1\], got -0.1"),
        ({}, WithinGoal(epsilon=0.0, delta=0.1), {}, r"epsilon must be in \(0, 1\), got 0.0"),
        ({}, WithinGoal(epsilon=0.1, delta=1.0), {}, r"delta must be in \(0, 1\), got 1.0"),
        ({}, QualityGoal(target=1.0), {}, "no threshold gives a quality of 1: the best is 0"),
        ({"judged": None}, QualityGoal(target=0.5), {}, "give a trace of `escalade record`"),
        ({}, RateGoal(target=0.5), {"rule": "meen"}, "'meen'; did you mean 'mean'"),
        ({}, RateGoal(target=0.5), {"early": EarlyGoal(0.01, 0.1)}, "takes at least 230 queries"),
        ({}, RateGoal(target=0.5), {"early": EarlyGoal(1e-300, 0.1)}, r"at least 2\.\d+e\+300 q"),
        ({}, RateGoal(target=0.5), {"early": EarlyGoal(5e-324, 0.1)}, "at least inf queries"),
        ({}, RateGoal(target=0.5), {"rule": "x" * 999}, "got 'x{80}'; .*router .* vote"),
        ({"logprobs": [[math.nan]] * 40}, RateGoal(target=0.5), {}, "not finite"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    artifact: Artifact, change: dict[str, Any], goal: Any, options: dict[str, Any], says: str
) -> None:
    before = (artifact.folder / MANIFEST_NAME).read_bytes()
    with pytest.raises(CalibrationError, match=says):
        calibrate(artifact, made_up(40)._replace(**change), goal, **options)
    assert (artifact.folder / MANIFEST_NAME).read_bytes() == before


def test_one_query_sets_a_threshold_and_checks_nothing(artifact: Artifact) -> None:
    one = made_up(3).subset([0])
    entry = kept(calibrate(artifact, one, RateGoal(target=1.0)))
    assert (entry.fit.n, entry.held_out) == (1, None)
    for options in ({"early": EarlyGoal(0.5, 0.5)}, {"rule": router()}):
        with pytest.raises(CalibrationError, match="too few to divide: 1 query"):
            calibrate(artifact, one, RateGoal(target=1.0), **options)  # type: ignore[arg-type]


def test_a_manifest_with_an_unknown_rule_is_refused(folder: Path) -> None:
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["deferral"]["rule"] = "quantile:2"
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError, match=r"deferral\.rule 'quantile:2': .* in \[0, 1\], got '2'"
    ):
        Artifact.open(folder)
