"""The edge client: each way a query can end, what the cloud gets to see, and the trace."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import EdgeClient
from escalade.edge.base.records import Record
from escalade.edge.deferral.rules import mean_nll
from escalade.edge.errors import CalibrationError, CloudError, DataError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.shadow import record_trace
from escalade.edge.trace.trace import read_trace
from escalade.edge.wire.cloud import CloudClient

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9


@pytest.fixture(scope="module")
def artifact(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


@pytest.fixture
def make_client(artifact: Artifact, scripted_cloud: Any, jumping_clock: Any) -> Any:
    made: list[EdgeClient] = []

    def make(threshold: float | None, *, cloud: bool = True, **options: Any) -> EdgeClient:
        channel = CloudClient(scripted_cloud.address, clock=jumping_clock) if cloud else None
        client = EdgeClient(
            artifact, cloud=channel, threshold=threshold, clock=jumping_clock, **options
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def test_a_sure_answer_stays_on_the_device(make_client: Any, scripted_cloud: Any) -> None:
    answer = make_client(NEVER).ask(PROMPT)
    assert (answer.outcome, answer.answered_by, answer.large) == ("answered", "small", None)
    assert answer.score == pytest.approx(mean_nll(answer.small.logprobs))
    assert not answer.would_defer
    assert scripted_cloud.asked == []


def test_an_unsure_answer_is_deferred_with_its_draft(
    make_client: Any, scripted_cloud: Any, artifact: Artifact
) -> None:
    answer = make_client(ALWAYS).ask(PROMPT, references=["large answer"])
    assert (answer.text, answer.outcome, answer.answered_by) == (
        "large answer",
        "deferred",
        "large",
    )
    assert answer.large.correct is True
    assert answer.small.correct is False
    assert 0 < answer.large.draft_bytes < answer.large.bytes_up
    (request,) = scripted_cloud.asked
    fingerprint = artifact.manifest.model.tokenizer_fingerprint
    steps = artifact.generate(artifact.encode(PROMPT))
    drafted = [step.token_id for step in steps if not step.ended]
    assert list(request.prompt.tokens.ids) == artifact.encode(PROMPT)
    assert request.prompt.tokens.tokenizer_fingerprint == fingerprint
    assert list(request.draft.tokens.ids) == drafted
    assert len(request.draft.logprobs) == len(drafted)
    assert request.draft.score == pytest.approx(answer.score)
    assert (request.draft.threshold, request.draft.rule) == (ALWAYS, "mean")


def test_a_silent_cloud_degrades_to_the_devices_own_answer(
    make_client: Any, scripted_cloud: Any
) -> None:
    alone = make_client(None, cloud=False).ask(PROMPT)
    scripted_cloud.replies = [lambda request, context: (_ for _ in ()).throw(RuntimeError("boom"))]
    answer = make_client(ALWAYS).ask(PROMPT)
    assert (answer.outcome, answer.answered_by) == ("degraded", "small")
    assert answer.text == alone.text
    assert answer.reason is not None
    assert answer.reason.startswith("UNKNOWN: cloud")


def test_without_a_cloud_it_says_what_it_would_have_deferred(make_client: Any) -> None:
    answer = make_client(ALWAYS, cloud=False).ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("answered", True)


def test_without_a_threshold_there_is_nothing_to_defer_by(make_client: Any) -> None:
    answer = make_client(None, cloud=False).ask(PROMPT)
    assert (answer.threshold, answer.would_defer) == (None, False)
    with pytest.raises(CalibrationError, match="not calibrated: run `escalade calibrate`"):
        make_client(None)


def test_shadow_mode_asks_both_and_decides_as_before(make_client: Any, scripted_cloud: Any) -> None:
    client = make_client(NEVER)
    answer = client.ask(PROMPT, shadow=True)
    assert answer.outcome == "answered"
    assert answer.large.text == "large answer"
    assert len(scripted_cloud.asked) == 1


def test_as_text_the_prompt_travels_without_a_draft(make_client: Any, scripted_cloud: Any) -> None:
    make_client(ALWAYS, prompt_form="text").ask(PROMPT)
    (request,) = scripted_cloud.asked
    assert request.prompt.text == PROMPT
    assert not request.HasField("draft")


def test_the_cloud_alone(make_client: Any, scripted_cloud: Any) -> None:
    assert make_client(NEVER).ask_large(PROMPT).text == "large answer"
    assert not scripted_cloud.asked[0].HasField("draft")
    with pytest.raises(CloudError, match="NO_CLOUD"):
        make_client(NEVER, cloud=False).ask_large(PROMPT)


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_asked(
    make_client: Any, scripted_cloud: Any
) -> None:
    with pytest.raises(PromptError):
        make_client(ALWAYS).ask("g2p: " + "a" * 500)
    assert scripted_cloud.asked == []


def _records(count: int) -> list[Record]:
    return [
        Record(id=f"q{n}", task="g2p", prompt=f"g2p: {'ab' * (n + 1)}", references=["large answer"])
        for n in range(count)
    ]


def test_a_recording_holds_both_answers_to_every_query(
    make_client: Any, tmp_path: Path, artifact: Artifact
) -> None:
    seen: list[tuple[int, int]] = []
    summary = record_trace(
        make_client(0.5),
        _records(4),
        tmp_path / "t.jsonl",
        progress=lambda done, total: seen.append((done, total)),
    )
    trace = read_trace(tmp_path / "t.jsonl")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert trace.header.large is not None
    assert trace.header.large.name == "scripted-large"
    assert trace.header.small.parameters == artifact.manifest.model.parameters
    assert trace.header.threshold == 0.5
    assert [record.id for record in trace.records] == ["q0", "q1", "q2", "q3"]
    for record in trace.records:
        assert record.large is not None
        assert record.large.correct is True
        assert record.small.correct is False
        assert math.isclose(record.score, mean_nll(record.small.logprobs))
        assert (record.outcome == "deferred") == (record.score >= 0.5)
    assert summary.queries == 4
    assert summary.unanswered == 0
    assert summary.deferred == sum(record.score >= 0.5 for record in trace.records)


def test_a_lost_answer_is_kept_as_lost_and_a_lost_cloud_ends_the_recording(
    make_client: Any, scripted_cloud: Any, tmp_path: Path
) -> None:
    good = scripted_cloud.replies[0]

    def boom(request: Any, context: Any) -> Any:
        raise RuntimeError("boom")

    scripted_cloud.replies = [good, boom, good, boom]
    out = tmp_path / "t.jsonl"
    assert record_trace(make_client(ALWAYS), _records(4), out).unanswered == 2
    lost = [record for record in read_trace(out).records if record.large is None]
    assert [record.outcome for record in lost] == ["degraded", "degraded"]
    assert all(record.reason for record in lost)

    other = tmp_path / "other.jsonl"
    with pytest.raises(CloudError, match="3 queries in a row failed"):
        record_trace(make_client(ALWAYS), _records(4), other)
    assert list(tmp_path.iterdir()) == [out]


def test_one_bad_prompt_stops_a_recording_before_it_starts(
    make_client: Any, scripted_cloud: Any, tmp_path: Path
) -> None:
    bad = Record(id="bad", task="t", prompt=" ", references=[])
    with pytest.raises(PromptError):
        record_trace(make_client(ALWAYS), [*_records(2), bad], tmp_path / "t.jsonl")
    assert scripted_cloud.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_client_with_a_trace_remembers_every_query(
    make_client: Any, scripted_cloud: Any, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    with make_client(ALWAYS, trace=path) as client:
        client.ask(PROMPT)
        client.ask(PROMPT)
    with make_client(ALWAYS, trace=path) as client:
        client.ask(PROMPT)
        with pytest.raises(PromptError):
            client.ask("")
    with pytest.raises(DataError, match="recorded under threshold"):
        make_client(NEVER, trace=path)
    trace = read_trace(path)
    assert [record.outcome for record in trace.records] == ["deferred"] * 3
    assert len({record.id for record in trace.records}) == 3
    assert trace.header.large is not None


def test_a_trace_is_begun_even_where_the_cloud_is_silent(
    artifact: Artifact, jumping_clock: Any, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    cloud = CloudClient(address, clock=jumping_clock)
    path = tmp_path / "trace.jsonl"
    with EdgeClient(
        artifact, cloud=cloud, threshold=ALWAYS, clock=jumping_clock, trace=path
    ) as client:
        assert client.ask(PROMPT).outcome == "degraded"
    trace = read_trace(path)
    assert trace.header.large is None
    assert [record.outcome for record in trace.records] == ["degraded"]


def test_a_full_disk_costs_the_record_and_not_the_answer(make_client: Any) -> None:
    client = make_client(NEVER, trace=Path("/dev/full"))
    answer = client.ask(PROMPT)
    assert answer.text == make_client(NEVER).ask(PROMPT).text
    assert answer.trace_error == "/dev/full: no record was added: No space left on device"


@pytest.mark.parametrize("threshold", [math.nan, math.inf])
def test_a_threshold_that_is_no_number_is_refused(make_client: Any, threshold: float) -> None:
    with pytest.raises(CalibrationError, match="must be a finite number"):
        make_client(threshold)
