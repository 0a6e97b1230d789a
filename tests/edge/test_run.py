"""Queries piece by piece: streaming, cancelling, stopping early and going on when it must."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge import EdgeClient, Sampling
from escalade.edge.artifact.manifest import file_entry
from escalade.edge.base.records import Record
from escalade.edge.deferral.entry import EarlyEntry, rule_of
from escalade.edge.errors import ArtifactError, CalibrationError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.trace.trace import read_trace
from escalade.edge.wire.cloud import CloudClient

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9
# Reached by some tokens of a response of 39, long before its last.
SOON = 0.02

MakeClient = Callable[..., EdgeClient]


@pytest.fixture(scope="module")
def artifact(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


@pytest.fixture
def make_client(artifact: Artifact, scripted_cloud: Any, jumping_clock: Any) -> Any:
    made: list[EdgeClient] = []

    def make(
        threshold: float | None, *, of: Artifact = artifact, cloud: bool = True, **options: Any
    ) -> EdgeClient:
        channel = CloudClient(scripted_cloud.address, clock=jumping_clock) if cloud else None
        client = EdgeClient(of, cloud=channel, threshold=threshold, clock=jumping_clock, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def boom(request: Any, context: Any) -> Any:
    raise RuntimeError("boom")


def test_the_pieces_are_the_devices_answer_and_the_decision_comes_last(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    turn = make_client(ALWAYS).stream(PROMPT)
    assert turn.answer is None
    pieces = [next(turn), *turn]
    assert [piece.step for piece in pieces] == artifact.generate(artifact.encode(PROMPT))
    answer = turn.answer
    assert answer is not None
    assert "".join(piece.text for piece in pieces) == answer.small.text
    assert (answer.text, answer.outcome) == ("large answer", "deferred")
    assert answer.stop == pieces[-1].stop
    assert len(scripted_cloud.asked) == 1


def test_a_slow_reader_does_not_make_the_device_slow(
    make_client: MakeClient, jumping_clock: Any
) -> None:
    turn = make_client(NEVER).stream(PROMPT)
    for _ in turn:
        jumping_clock.sleep_s(100.0)
    assert turn.answer is not None
    assert turn.answer.small.generate_s <= turn.answer.total_s < 100.0


def test_a_cancelled_query_leaves_nothing(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    client = make_client(ALWAYS, trace=tmp_path / "t.jsonl")
    seen: list[object] = []
    turn = client.stream(PROMPT, cancelled=lambda: len(seen) == 3)
    for piece in turn:
        seen.append(piece.step)
        assert piece.stop in {None, "cancelled"}
    assert (len(seen), seen[-1]) == (4, None)
    assert turn.answer is None
    assert turn.finish() is None
    assert scripted_cloud.asked == []
    assert list(tmp_path.iterdir()) == []


def test_generation_stops_once_deferral_is_certain(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    whole = make_client(SOON).ask(PROMPT)
    answer = make_client(SOON, early="certain", trace=path).ask(PROMPT, references=["no such"])
    assert (answer.outcome, answer.text, answer.stop) == (
        "deferred",
        "large answer",
        "stopped_early",
    )
    assert answer.small.stopped_early
    assert 1 <= answer.small.generated_tokens < whole.small.generated_tokens
    assert answer.small.logprobs == whole.small.logprobs[: answer.small.generated_tokens]
    assert SOON <= answer.score <= whole.score
    assert answer.small.correct is None
    early = scripted_cloud.asked[1].draft
    assert (
        list(early.tokens.ids)
        == list(scripted_cloud.asked[0].draft.tokens.ids)[: len(early.tokens.ids)]
    )
    assert (early.HasField("score"), early.threshold) == (False, SOON)
    (record,) = read_trace(path).records
    assert record.small == answer.small
    assert record.score == answer.score


def test_stopping_early_decides_as_running_to_the_end_does(make_client: MakeClient) -> None:
    prompts = [f"g2p: {word}" for word in ("cat", "insecticide", "o", "zzz", "banana", "ab")]
    for threshold in (0.02, 0.5, 1.0, 1.5):
        patient, hasty = make_client(threshold), make_client(threshold, early="certain")
        for prompt in prompts:
            slow, fast = patient.ask(prompt), hasty.ask(prompt)
            assert (fast.text, fast.outcome) == (slow.text, slow.outcome)
            assert fast.small.generated_tokens <= slow.small.generated_tokens
            assert fast.small.stopped_early or fast.score == slow.score


def test_when_the_cloud_is_silent_the_stopped_answer_is_finished_from_where_it_stood(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    runtime: Any = artifact._runtime
    alone = make_client(SOON, cloud=False)
    before = runtime.tokens_run
    whole = alone.ask(PROMPT)
    cost = runtime.tokens_run - before
    scripted_cloud.replies = [boom]
    client = make_client(SOON, early="certain")
    before = runtime.tokens_run
    turn = client.stream(PROMPT, references=["no such"])
    stops = [piece.stop for piece in turn]
    answer = turn.answer
    assert answer is not None
    assert runtime.tokens_run - before == cost  # nothing was read or generated twice
    assert stops.count("stopped_early") == 1
    assert (answer.outcome, answer.would_defer) == ("degraded", True)
    assert (answer.text, answer.score, answer.stop) == (whole.text, whole.score, whole.stop)
    assert answer.small.logprobs == whole.small.logprobs
    assert not answer.small.stopped_early
    assert answer.small.correct is False
    assert answer.reason is not None
    assert answer.small.generate_s < answer.total_s


def test_the_rest_of_a_stopped_answer_can_be_cancelled(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [boom]
    client = make_client(SOON, early="certain")
    turn = client.stream(PROMPT, cancelled=lambda: bool(scripted_cloud.asked))
    assert [piece.stop for piece in turn][-2:] == ["stopped_early", "cancelled"]
    assert turn.answer is None


def test_in_shadow_mode_and_without_a_cloud_everything_runs_to_the_end(
    make_client: MakeClient,
) -> None:
    whole = make_client(SOON).ask(PROMPT)
    shadowed = make_client(SOON, early="certain").ask(PROMPT, shadow=True)
    recorded = make_client(SOON, early="certain").trace_record(
        Record(id="a", task="", prompt=PROMPT, references=[]), shadow=True
    )
    alone = make_client(SOON, early="certain", cloud=False).ask(PROMPT)
    for small in (shadowed.small, recorded.small, alone.small):
        assert small.logprobs == whole.small.logprobs
        assert not small.stopped_early


@pytest.fixture
def hasty_artifact(artifact: Artifact) -> Callable[[float], Artifact]:
    """One that was calibrated to stop after two tokens, whatever they are."""

    def make(threshold: float) -> Artifact:
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
        deferral = msgspec.structs.replace(
            artifact.manifest.deferral, threshold=threshold, early=early
        )
        manifest = msgspec.structs.replace(artifact.manifest, deferral=deferral)
        return Artifact(
            artifact.folder,
            manifest,
            artifact._runtime,
            artifact._tokenizer,
            rule=rule_of(artifact.folder, manifest.deferral),
        )

    return make


def test_generation_stops_where_deferral_is_likely_if_asked_to(
    make_client: MakeClient, hasty_artifact: Callable[[float], Artifact]
) -> None:
    answer = make_client(None, of=hasty_artifact(NEVER), early="likely").ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("deferred", True)
    assert answer.small.stopped_early
    assert answer.small.generated_tokens == 2
    assert answer.score < NEVER  # the bound; what the score would have been is not known
    patient = make_client(None, of=hasty_artifact(NEVER), early="certain").ask(PROMPT)
    assert patient.outcome == "answered"


def test_a_likely_deferral_that_was_none_is_answered_when_the_cloud_is_silent(
    make_client: MakeClient, scripted_cloud: Any, hasty_artifact: Callable[[float], Artifact]
) -> None:
    scripted_cloud.replies = [boom]
    answer = make_client(None, of=hasty_artifact(NEVER), early="likely").ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("answered", False)
    assert answer.text == make_client(None, cloud=False).ask(PROMPT).text
    assert answer.reason is not None
    assert answer.total_s > answer.small.generate_s


def test_what_is_likely_must_have_been_calibrated(
    make_client: MakeClient, hasty_artifact: Callable[[float], Artifact]
) -> None:
    with pytest.raises(CalibrationError, match="was not calibrated to stop early"):
        make_client(SOON, early="likely")
    with pytest.raises(CalibrationError, match=r"stop early under threshold 0\.5, not 0\.02"):
        make_client(SOON, of=hasty_artifact(0.5), early="likely")


def test_a_stop_sequence_cuts_both_answers(make_client: MakeClient) -> None:
    whole = make_client(NEVER).ask(PROMPT)
    stop = whole.small.text[2:4]
    local = make_client(NEVER).ask(PROMPT, stop=stop)
    assert (local.text, local.stop) == (whole.text[: whole.text.index(stop)], "stop")
    count = local.small.generated_tokens
    assert local.small.logprobs == whole.small.logprobs[:count]
    assert make_client(ALWAYS).ask(PROMPT, stop=["zz", " ans"]).text == "large"


def test_sampling_is_the_small_models(make_client: MakeClient) -> None:
    client = make_client(NEVER)
    hot = Sampling(temperature=5.0, seed=2)
    assert client.ask(PROMPT, sampling=hot).text == client.ask(PROMPT, sampling=hot).text
    assert client.ask(PROMPT, sampling=hot).text != client.ask(PROMPT).text


@pytest.fixture
def chat_artifact(float_artifact: Path, tmp_path: Path) -> Artifact:
    folder = Path(shutil.copytree(float_artifact, tmp_path / "chat"))
    path = folder / "chat_template.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}<sep>{% endfor %}")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = file_entry(path)
    manifest["files"][path.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    manifest["model"]["chat"] = {"template": path.name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Artifact.open(folder)


def test_a_conversation_goes_through_the_template_and_travels_as_tokens(
    make_client: MakeClient, scripted_cloud: Any, chat_artifact: Artifact, tmp_path: Path
) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "cat"}]
    trace = tmp_path / "t.jsonl"
    answer = make_client(ALWAYS, of=chat_artifact, trace=trace).ask(messages)
    assert answer.outcome == "deferred"
    (request,) = scripted_cloud.asked
    expected = chat_artifact.encode("s<sep>cat")  # which adds the last <sep> itself
    assert list(request.prompt.tokens.ids) == expected
    assert read_trace(trace).records[0].prompt == "s<sep>cat<sep>"
    as_text = make_client(ALWAYS, of=chat_artifact, prompt_form="text")
    with pytest.raises(PromptError, match="a conversation travels as tokens"):
        as_text.ask(messages)
    with pytest.raises(PromptError, match="a conversation travels as tokens"):
        as_text.ask_large(messages)
    assert len(scripted_cloud.asked) == 1


def test_a_conversation_needs_a_template(make_client: MakeClient) -> None:
    with pytest.raises(ArtifactError, match="the model has no chat template"):
        make_client(NEVER).ask([{"role": "user", "content": "cat"}])
