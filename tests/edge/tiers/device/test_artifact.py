"""A tier of one artifact: it ends early where its query is deferred anyway, and goes on if not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge import Artifact, EdgeClient, OpenOptions, Query
from escalade.edge.artifact.manifest import read_manifest, write_manifest
from escalade.edge.base import Record
from escalade.edge.deferral import EarlyEntry
from escalade.edge.errors import CalibrationError
from escalade.edge.trace import MemberAnswer, TierAnswer, read_trace

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9
# Reached by some tokens of a response of 39, long before its last.
SOON = 0.02

MakeClient = Callable[..., EdgeClient]


def small(answer: Any) -> TierAnswer:
    assert answer.tiers[0] is not None
    return answer.tiers[0]  # type: ignore[no-any-return]


def said(answer: Any) -> MemberAnswer:
    (one,) = small(answer).members
    return one


def test_generation_stops_once_deferral_is_certain(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    whole = make_client(SOON).ask(PROMPT)
    query = Query(text=PROMPT, references=("no such",))
    answer = make_client(SOON, early="certain", trace=path).ask(query)
    assert (answer.outcome, answer.text, answer.stop) == ("deferred", "large answer", "end")
    assert small(answer).stopped_early
    count = said(answer).generated_tokens
    assert 1 <= count < said(whole).generated_tokens
    assert said(answer).logprobs == said(whole).logprobs[:count]
    assert SOON <= answer.score <= whole.score
    assert (small(answer).correct, said(answer).correct) == (None, None)
    patient, early = (request.draft for request in scripted_cloud.asked)
    assert list(early.tokens.ids) == list(patient.tokens.ids)[: len(early.tokens.ids)]
    assert (early.HasField("score"), early.threshold) == (False, SOON)
    (record,) = read_trace(path).records
    assert record.tiers[0] == small(answer)


def test_stopping_early_decides_as_running_to_the_end_does(make_client: MakeClient) -> None:
    prompts = [f"g2p: {word}" for word in ("cat", "insecticide", "o", "zzz", "banana", "ab")]
    for threshold in (0.02, 0.5, 1.0, 1.5):
        patient, hasty = make_client(threshold), make_client(threshold, early="certain")
        for prompt in prompts:
            slow, fast = patient.ask(prompt), hasty.ask(prompt)
            assert (fast.text, fast.outcome) == (slow.text, slow.outcome)
            assert said(fast).generated_tokens <= said(slow).generated_tokens
            assert small(fast).stopped_early or fast.score == slow.score


def test_when_the_cloud_is_silent_the_stopped_answer_is_finished_from_where_it_stood(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    runtime: Any = artifact._runtime
    alone = make_client(SOON, cloud=False)
    alone.ask(PROMPT)
    before = runtime.tokens_run
    whole = alone.ask(PROMPT)
    cost = runtime.tokens_run - before
    scripted_cloud.fails()
    client = make_client(SOON, early="certain")
    before = runtime.tokens_run
    run = client.stream(Query(text=PROMPT, references=("no such",)))
    stops = [delta.stop for delta in run]
    answer = run.answer
    assert answer is not None
    assert runtime.tokens_run - before == cost  # nothing was read or generated twice
    assert stops.count("stopped_early") == 1
    assert (answer.outcome, answer.would_defer) == ("degraded", True)
    assert (answer.text, answer.score, answer.stop) == (whole.text, whole.score, whole.stop)
    assert said(answer).logprobs == said(whole).logprobs
    assert said(answer).generated_tokens == said(whole).generated_tokens
    assert not small(answer).stopped_early
    assert (small(answer).correct, said(answer).correct) == (False, False)
    assert answer.reason is not None
    assert small(answer).seconds < answer.total_s


def test_the_time_that_the_cloud_takes_is_not_the_devices(
    make_client: MakeClient, scripted_cloud: Any, jumping_clock: Any
) -> None:
    def slow(request: Any, context: Any) -> Any:
        jumping_clock.sleep_s(100.0)
        raise RuntimeError("boom")

    scripted_cloud.replies = [slow]
    answer = make_client(SOON, early="certain").ask(PROMPT)
    assert answer.outcome == "degraded"
    assert small(answer).seconds < 100.0 <= answer.total_s
    assert said(answer).seconds == small(answer).seconds


def test_the_rest_of_a_stopped_answer_can_be_cancelled(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    scripted_cloud.fails()
    client = make_client(SOON, early="certain", trace=tmp_path / "t.jsonl")
    answered: list[object] = []
    run = client.stream(PROMPT, cancelled=lambda: bool(answered))
    stops = []
    for delta in run:
        stops.append(delta.stop)
        if scripted_cloud.asked:
            answered.append(delta)
    assert stops[-1] == "cancelled"
    assert stops.count("stopped_early") == 1
    assert run.answer is None
    assert list(tmp_path.iterdir()) == []


def test_in_shadow_mode_and_without_a_cloud_everything_runs_to_the_end(
    make_client: MakeClient,
) -> None:
    whole = make_client(SOON).ask(PROMPT)
    hasty = make_client(SOON, early="certain")
    shadowed = hasty.ask(PROMPT, shadow=True)
    record = Record(id="a", task="", prompt=PROMPT, references=[])
    recorded = hasty.trace_record(record, shadow=True)
    alone = make_client(SOON, early="certain", cloud=False).ask(PROMPT)
    for answer in (shadowed, recorded, alone):
        assert said(answer).logprobs == said(whole).logprobs
        assert not small(answer).stopped_early


@pytest.fixture
def hasty_folder(float_artifact: Path, tmp_path: Path) -> Callable[[float], Path]:
    """An artifact that was calibrated to stop after two tokens, whatever they are."""

    def make(threshold: float) -> Path:
        early = EarlyEntry(
            statistic="mean",
            level=0.0,
            min_tokens=2,
            miss_rate=0.1,
            delta=0.1,
            n=100,
            misses=3,
            stopped=0.5,
            tokens_saved=0.2,
        )
        folder = Path(shutil.copytree(float_artifact, tmp_path / f"hasty-{threshold}"))
        manifest = read_manifest(folder)
        deferral = msgspec.structs.replace(manifest.deferral, threshold=threshold, early=early)
        write_manifest(folder, msgspec.structs.replace(manifest, deferral=deferral))
        return folder

    return make


def test_generation_stops_where_deferral_is_likely_if_asked_to(
    hasty_folder: Callable[[float], Path], scripted_cloud: Any
) -> None:
    folder, address = hasty_folder(NEVER), scripted_cloud.address
    with EdgeClient.open(folder, OpenOptions(early="likely"), cloud=address) as client:
        answer = client.ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("deferred", True)
    assert small(answer).stopped_early
    assert said(answer).generated_tokens == 2
    assert answer.score < NEVER  # the bound; what the score would have been is not known
    with EdgeClient.open(folder, OpenOptions(early="certain"), cloud=address) as client:
        assert client.ask(PROMPT).outcome == "answered"


def test_a_likely_deferral_that_was_none_is_answered_when_the_cloud_is_silent(
    make_client: MakeClient, scripted_cloud: Any, hasty_folder: Callable[[float], Path]
) -> None:
    scripted_cloud.fails()
    hasty = Artifact.open(hasty_folder(NEVER))
    answer = make_client(NEVER, of=hasty, early="likely").ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("answered", False)
    assert answer.text == make_client(None, cloud=False).ask(PROMPT).text
    assert answer.reason is not None
    assert answer.total_s > small(answer).seconds


def test_what_is_likely_must_have_been_calibrated(
    float_artifact: Path, hasty_folder: Callable[[float], Path]
) -> None:
    options = OpenOptions(early="likely", threshold=SOON)
    with pytest.raises(CalibrationError, match="was not calibrated to stop early"):
        EdgeClient.open(float_artifact, options)
    with pytest.raises(CalibrationError, match=r"stop early under threshold 0\.5, not 0\.02"):
        EdgeClient.open(hasty_folder(0.5), options)
