"""The edge client: each way a query can end, what the cloud gets to see, and the trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Artifact, EdgeClient, OpenOptions, Query
from escalade.edge.deferral import mean_nll
from escalade.edge.errors import CalibrationError, CloudError, DataError, PromptError
from escalade.edge.runtimes import Step
from escalade.edge.runtimes.base import ReadsNoDraft
from escalade.edge.trace import read_trace

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9

MakeClient = Callable[..., EdgeClient]


def test_a_sure_answer_stays_on_the_device(make_client: MakeClient, scripted_cloud: Any) -> None:
    answer = make_client(NEVER).ask(PROMPT)
    assert (answer.outcome, answer.answered_by) == ("answered", 0)
    assert (answer.tier, answer.place, answer.tiers[1]) == ("device", "device", None)
    assert answer.score == pytest.approx(mean_nll(answer.said.members[0].logprobs))
    assert not answer.would_defer
    assert scripted_cloud.asked == []


def test_an_unsure_answer_is_deferred_with_its_draft(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    answer = make_client(ALWAYS).ask(Query(text=PROMPT, references=("large answer",)))
    assert (answer.text, answer.outcome) == ("large answer", "deferred")
    assert (answer.answered_by, answer.tier, answer.place) == (1, "cloud", "cloud")
    small, large = answer.tiers
    assert small is not None
    assert large is not None
    assert (small.correct, large.correct) == (False, True)
    assert large.link is not None
    assert 0 < large.link.draft_bytes < large.link.bytes_up
    assert (large.link.attempts, large.link.server_s) == (1, 0.75)
    assert (large.members[0].prompt_tokens, large.members[0].generated_tokens) == (4, 3)
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
    assert not request.output.logprobs  # nobody here judges the last tier's answer


def test_a_silent_cloud_degrades_to_the_devices_own_answer(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    alone = make_client(None, cloud=False).ask(PROMPT)
    scripted_cloud.fails()
    answer = make_client(ALWAYS).ask(PROMPT)
    assert (answer.outcome, answer.answered_by) == ("degraded", 0)
    assert answer.text == alone.text
    assert answer.reason is not None
    assert answer.reason.startswith("UNKNOWN: cloud")


def test_without_a_cloud_it_says_what_it_would_have_deferred(make_client: MakeClient) -> None:
    answer = make_client(ALWAYS, cloud=False).ask(PROMPT)
    assert (answer.outcome, answer.would_defer) == ("answered", True)


def test_without_a_threshold_there_is_nothing_to_defer_by(make_client: MakeClient) -> None:
    answer = make_client(None, cloud=False).ask(PROMPT)
    assert (answer.threshold, answer.would_defer) == (None, False)
    with pytest.raises(CalibrationError, match="not calibrated: run `escalade calibrate`"):
        make_client(None)


def test_shadow_mode_asks_both_and_decides_as_before(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    answer = make_client(NEVER).ask(PROMPT, shadow=True)
    assert answer.outcome == "answered"
    assert answer.tiers[1] is not None
    assert answer.tiers[1].text == "large answer"
    assert len(scripted_cloud.asked) == 1


def test_as_text_the_prompt_travels_without_a_draft(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    make_client(ALWAYS, prompt_form="text").ask(PROMPT)
    (request,) = scripted_cloud.asked
    assert request.prompt.text == PROMPT
    assert not request.HasField("draft")


def test_the_last_tier_alone(make_client: MakeClient, scripted_cloud: Any) -> None:
    assert make_client(NEVER).ask_last(PROMPT).text == "large answer"
    assert not scripted_cloud.asked[0].HasField("draft")
    alone = make_client(NEVER, cloud=False)
    assert alone.ask_last(PROMPT).text == alone.ask(PROMPT).text
    scripted_cloud.fails()
    with pytest.raises(CloudError, match="UNKNOWN"):
        make_client(NEVER).ask_last(PROMPT)


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_asked(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    client = make_client(ALWAYS)
    for prompt in ("g2p: " + "a" * 500, "", " ", "\ud800"):
        with pytest.raises(PromptError):
            client.ask(prompt)
    with pytest.raises(PromptError, match="needs at least 1 message"):
        client.ask([])
    assert scripted_cloud.asked == []


def test_a_client_with_a_trace_remembers_every_query(
    make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    with make_client(ALWAYS, trace=path) as client:
        client.ask(Query(text=PROMPT, task="diary", references=("large answer",)))
        client.ask(PROMPT)
    with make_client(ALWAYS, trace=path) as client:
        client.ask(PROMPT)
        with pytest.raises(PromptError):
            client.ask("")
    with pytest.raises(DataError, match="recorded under threshold of tier 'device' -1.0"):
        make_client(NEVER, trace=path)
    trace = read_trace(path)
    assert [record.outcome for record in trace.records] == ["deferred"] * 3
    assert [record.references for record in trace.records] == [["large answer"], [], []]
    assert [record.task for record in trace.records] == ["diary", "", ""]
    assert {record.prompt for record in trace.records} == {PROMPT}
    assert len({record.id for record in trace.records}) == 3
    assert [one.name for one in trace.header.tiers[1].members] == ["scripted-large"]


def test_what_is_remembered_is_what_was_answered(make_client: MakeClient, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    answer = make_client(ALWAYS, trace=path).ask(PROMPT)
    (record,) = read_trace(path).records
    assert (record.tiers, record.answered_by) == (list(answer.tiers), 1)
    assert (record.outcome, record.total_s, record.reason) == ("deferred", answer.total_s, None)


def test_a_trace_is_begun_even_where_the_cloud_is_silent_and_goes_on_when_it_answers(
    make_client: MakeClient, nobody: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    assert make_client(ALWAYS, address=nobody, trace=path).ask(PROMPT).outcome == "degraded"
    assert make_client(ALWAYS, trace=path).ask(PROMPT).outcome == "deferred"
    trace = read_trace(path)
    assert trace.header.tiers[1].members == []  # who it is was not known
    assert [record.outcome for record in trace.records] == ["degraded", "deferred"]
    assert [record.tiers[1] is None for record in trace.records] == [True, False]


def test_a_full_disk_costs_the_record_and_not_the_answer(make_client: MakeClient) -> None:
    client = make_client(NEVER, trace=Path("/dev/full"))
    answer = client.ask(PROMPT)
    assert answer.text == make_client(NEVER).ask(PROMPT).text
    assert answer.trace_error == "/dev/full: no record was added: No space left on device"


def test_a_trace_needs_a_threshold(make_client: MakeClient, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="tier 'device': not calibrated"):
        make_client(None, cloud=False, trace=tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threshold", [math.nan, math.inf])
def test_a_threshold_that_is_no_number_is_refused(float_artifact: Path, threshold: float) -> None:
    with pytest.raises(CalibrationError, match="must be a finite number"):
        EdgeClient.open(float_artifact, OpenOptions(threshold=threshold))


def test_a_client_that_cannot_be_opened_leaves_no_channel_behind(
    float_artifact: Path, scripted_cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from escalade.edge.wire import CloudClient

    closed: list[str] = []
    monkeypatch.setattr(CloudClient, "close", lambda self: closed.append(self.address))
    with pytest.raises(DataError, match="its folder does not exist"):
        EdgeClient.open(
            float_artifact,
            OpenOptions(threshold=0.5),
            cloud=scripted_cloud.address,
            trace=tmp_path / "none" / "t.jsonl",
        )
    assert closed == [scripted_cloud.address]


class Broken(ReadsNoDraft):
    """A runtime whose model is not sure of anything, not even that it is not."""

    def __init__(self, *logprobs: float) -> None:
        self._logprobs = logprobs

    def generate(self, prompt_ids: Any, max_new_tokens: int, **options: Any) -> Iterator[Step]:
        for logprob in self._logprobs:
            yield Step(5, logprob, False)
        yield Step(0, -0.1, True)


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
def test_a_broken_model_defers_and_its_trace_can_be_read_and_added_to(
    make_client: MakeClient, artifact: Artifact, tmp_path: Path, logprob: float
) -> None:
    broken = Artifact(
        artifact.folder,
        artifact.manifest,
        Broken(-0.5, logprob),  # type: ignore[arg-type]
        artifact._tokenizer,
        rule=artifact.rule,
    )
    path = tmp_path / "t.jsonl"
    for _ in range(2):
        answer = make_client(NEVER, of=broken, trace=path).ask(PROMPT)
        assert (answer.outcome, answer.would_defer) == ("deferred", True)
    first, second = read_trace(path).records
    for record in (first, second):
        small = record.tiers[0]
        assert small is not None
        assert small.score is not None
        assert not math.isfinite(small.score)
        assert repr(small.members[0].logprobs) == repr([-0.5, logprob, -0.1])
