"""What calibration reads: the artifact asked now, and traces of it that will do or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from small_traces import cloud, device, header, record, tier_answer

from escalade.edge.artifact import program_digest
from escalade.edge.artifact.manifest import read_manifest
from escalade.edge.base.files import sha256_of
from escalade.edge.base.records import Record, write_records
from escalade.edge.calibration.calibration import calibrate
from escalade.edge.calibration.data import answers_in, answers_to
from escalade.edge.calibration.early import EarlyGoal
from escalade.edge.deferral.entry import QualityGoal, RateGoal, WithinGoal
from escalade.edge.deferral.rules import rule_named
from escalade.edge.errors import CalibrationError, DataError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.trace import (
    TierAnswer,
    TraceRecord,
    read_trace,
    write_trace,
)

WORDS = ["cat", "dog", "banana", "o'neil", "zebra", "apple", "pear", "quince", "violin", "walnut"]
replace = msgspec.structs.replace


LARGE = tier_answer("x", [], correct=True)


@pytest.fixture
def folder(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


@pytest.fixture
def artifact(folder: Path) -> Artifact:
    return Artifact.open(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "valid.jsonl"
    prompts = [f"g2p: {word}" for word in WORDS]
    write_records(path, (Record(id=p, task="g2p", prompt=p, references=[]) for p in prompts))
    return path


def trace_record(artifact: Artifact, prompt: str) -> TraceRecord:
    ids = artifact.encode(prompt)
    steps = artifact.generate(ids)
    logprobs = [step.logprob for step in steps]
    small = tier_answer(
        artifact.text_of(steps), logprobs, prompt_tokens=len(ids), correct=len(prompt) % 2 == 0
    )
    return record(prompt, small, LARGE, prompt=prompt, references=["x"], answered_by=1)


def write(path: Path, records: list[TraceRecord], program: str | None = None) -> Path:
    tiers = [device(0.0, program=program), cloud(), cloud("more", model="larger")]
    write_trace(path, header(*tiers[: len(records[0].tiers)]), records)
    return path


def small_of(record: TraceRecord) -> TierAnswer:
    assert record.tiers[0] is not None
    return record.tiers[0]


@pytest.fixture
def records(artifact: Artifact) -> list[TraceRecord]:
    return [trace_record(artifact, f"g2p: {word}") for word in WORDS]


def test_the_artifact_answers_the_records(artifact: Artifact, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    answers = answers_to(
        artifact, data, limit=5, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(n, 5) for n in range(1, 6)]
    assert (answers.judged, answers.source, answers.sha256) == (None, data, sha256_of(data))
    for word, logprobs, longest in zip(WORDS[::2], answers.logprobs, answers.longest, strict=True):
        ids = artifact.encode(f"g2p: {word}")
        assert logprobs == [step.logprob for step in artifact.generate(ids)]
        assert longest == artifact.room_for(ids)
    calibrate(artifact, answers, RateGoal(target=0.5), rule="quantile:0.4")
    deferral = read_manifest(artifact.folder).deferral
    assert deferral.rule == "quantile:0.4"
    score = rule_named("quantile:0.4")
    assert deferral.threshold in [score(one) for one in answers.logprobs]


def test_a_prompt_that_does_not_fit_is_refused_before_the_work(
    artifact: Artifact, data: Path
) -> None:
    long = Record(id="long", task="g2p", prompt="g2p: " + "a" * 60, references=[])
    data.write_bytes(data.read_bytes() + msgspec.json.encode(long))
    with pytest.raises(PromptError, match=r"\.jsonl:\d+: record 'long': .*takes 1 to"):
        answers_to(artifact, data, progress=lambda done, total: pytest.fail("asked"))


def test_a_trace_gives_what_asking_gives(
    artifact: Artifact, data: Path, records: list[TraceRecord], tmp_path: Path
) -> None:
    trace = write(tmp_path / "trace.jsonl", records)
    answers, asked = answers_in(artifact, trace, judged=True), answers_to(artifact, data)
    assert answers.logprobs == asked.logprobs
    assert answers.longest == asked.longest
    assert answers.judged is not None
    assert answers.judged.small.tolist() == [small_of(record).correct for record in records]
    assert answers.judged.large.tolist() == [True] * len(records)
    assert (answers.records, answers.left_out) == (records, 0)
    assert answers_in(artifact, trace, judged=False, limit=3).records == records[:7:3]


def unasked(record: TraceRecord) -> TraceRecord:
    return replace(record, tiers=[small_of(record), None], answered_by=0)


def alone(record: TraceRecord) -> TraceRecord:
    return replace(record, tiers=[small_of(record)], answered_by=0)


def unanswered(record: TraceRecord) -> TraceRecord:
    return replace(unasked(record), reason="UNAVAILABLE")


def unjudged(record: TraceRecord) -> TraceRecord:
    return replace(record, tiers=[replace(small_of(record), correct=None), LARGE])


def stopped(record: TraceRecord) -> TraceRecord:
    return replace(record, tiers=[replace(small_of(record), stopped_early=True), LARGE])


def surer(record: TraceRecord) -> TraceRecord:
    small = small_of(record)
    changed = [logprob / 2 for logprob in small.members[0].logprobs]
    members = [replace(small.members[0], logprobs=changed)]
    return replace(record, tiers=[replace(small, members=members), LARGE])


def test_queries_that_the_cloud_failed_are_left_out_and_counted(
    artifact: Artifact, records: list[TraceRecord], tmp_path: Path
) -> None:
    trace = write(tmp_path / "trace.jsonl", [unanswered(records[0]), *records[1:]])
    answers = answers_in(artifact, trace, judged=True)
    assert (len(answers.logprobs), answers.left_out) == (9, 1)
    written = calibrate(artifact, answers, QualityGoal(target=0.5)).deferral.calibration
    assert written is not None
    assert written.left_out == 1
    # Where no judgement is asked for, none is needed.
    answers = answers_in(artifact, trace, judged=False)
    assert (len(answers.logprobs), answers.judged, answers.left_out) == (10, None, 0)


@pytest.mark.parametrize(
    ("change", "judged", "says"),
    [
        (unasked, True, "never asked 10 of 10 queries"),
        (alone, True, "never asked 10 of 10 queries"),
        (unanswered, True, "the large model answered no query"),
        (unjudged, True, "lacks references"),
        (stopped, False, "the device's answer to 'g2p: cat' was not finished"),
        (surer, False, "recorded with another artifact: .* gives 0 of 8 of its answers"),
    ],
)
def test_a_trace_that_will_not_do(
    artifact: Artifact,
    records: list[TraceRecord],
    tmp_path: Path,
    change: Callable[[TraceRecord], TraceRecord],
    judged: bool,
    says: str,
) -> None:
    trace = write(tmp_path / "trace.jsonl", [change(record) for record in records])
    with pytest.raises(CalibrationError, match=says):
        answers_in(artifact, trace, judged=judged)


def test_a_trace_is_of_one_program(
    artifact: Artifact, folder: Path, records: list[TraceRecord], tmp_path: Path
) -> None:
    path, goal = tmp_path / "trace.jsonl", WithinGoal(epsilon=0.5, delta=0.5)
    ours = program_digest(artifact.manifest)
    answers = answers_in(artifact, write(path, records, ours), judged=True)
    calibrate(artifact, answers, goal)
    # A threshold and a router change no answer.
    assert program_digest(read_manifest(folder)) == ours
    # Nobody signed an old trace: it will do where nothing is promised.
    answers = answers_in(artifact, write(path, records), judged=True)
    calibrate(artifact, answers, RateGoal(target=0.5))
    for wanted, early in ((goal, None), (RateGoal(target=0.5), EarlyGoal(0.5, 0.5))):
        with pytest.raises(CalibrationError, match="does not say which program"):
            calibrate(artifact, answers, wanted, early=early)
    with pytest.raises(CalibrationError, match="recorded with another artifact than"):
        answers_in(artifact, write(path, records, "0" * 64), judged=False)


def test_the_program_is_its_weights_too(artifact: Artifact) -> None:
    manifest = artifact.manifest
    seen = {program_digest(manifest)}
    for name, entry in manifest.files.items():
        files = manifest.files | {name: replace(entry, sha256="0" * 64)}
        seen.add(program_digest(replace(manifest, files=files)))
    shorter = replace(manifest.model, max_new_tokens=1)
    seen.add(program_digest(replace(manifest, model=shorter)))
    assert len(seen) == len(manifest.files) + 2


def test_no_trace(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        answers_in(artifact, tmp_path / "none.jsonl", judged=True)


def test_the_next_tier_is_the_large_model_and_the_first_must_be_one(
    artifact: Artifact, records: list[TraceRecord], tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    higher = [replace(one, tiers=[*one.tiers, replace(LARGE, correct=False)]) for one in records]
    answers = answers_in(artifact, write(path, higher), judged=True)
    assert answers.judged is not None
    assert answers.judged.large.all()
    assert answers_in(artifact, write(path, [alone(one) for one in records]), judged=False)
    header = read_trace(path).header
    two = replace(header.tiers[0], members=[*header.tiers[0].members] * 2)
    write_trace(path, replace(header, tiers=[two]), [alone(one) for one in records])
    with pytest.raises(CalibrationError, match="its first tier has 2 members; calibrate the casc"):
        answers_in(artifact, path, judged=False)
