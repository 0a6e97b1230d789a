"""Recording in shadow mode: every tier's answer to every query, and what is lost is said so."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.base import Record
from escalade.edge.deferral import Gate, Vote, mean_nll
from escalade.edge.errors import CloudError, PromptError
from escalade.edge.shadow import record_trace
from escalade.edge.tiers import EnsembleTier, Member, RemoteTier
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

ALWAYS, NEVER = -1.0, 1e9

MakeClient = Callable[..., EdgeClient]


def records(count: int) -> list[Record]:
    return [
        Record(id=f"q{n}", task="g2p", prompt=f"g2p: {'ab' * (n + 1)}", references=["large answer"])
        for n in range(count)
    ]


def test_a_recording_holds_both_answers_to_every_query(
    make_client: MakeClient, tmp_path: Path, artifact: Artifact
) -> None:
    seen: list[tuple[int, int]] = []
    summary = record_trace(
        make_client(0.5),
        records(4),
        tmp_path / "t.jsonl",
        progress=lambda done, total: seen.append((done, total)),
    )
    trace = read_trace(tmp_path / "t.jsonl")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    device, cloud = trace.header.tiers
    assert (device.name, device.rule, device.threshold) == ("device", "mean", 0.5)
    assert device.members[0].parameters == artifact.manifest.model.parameters
    assert [one.name for one in cloud.members] == ["scripted-large"]
    assert [(one.id, one.task) for one in trace.records] == [(f"q{n}", "g2p") for n in range(4)]
    for record in trace.records:
        small, large = record.tiers
        assert small is not None
        assert large is not None
        assert (small.correct, large.correct) == (False, True)
        assert small.score is not None
        assert math.isclose(small.score, mean_nll(small.members[0].logprobs))
        assert (record.outcome == "deferred") == (small.score >= 0.5)
        assert record.answered_by == (small.score >= 0.5)
    assert (summary.queries, summary.unanswered) == (4, 0)
    assert summary.deferred == sum(one.answered_by for one in trace.records)


def test_every_member_of_every_tier_is_recorded(
    members: list[Member],
    artifact: Artifact,
    make_remote: Callable[..., RemoteTier],
    jumping_clock: Any,
    tmp_path: Path,
) -> None:
    tiers = [EnsembleTier(members, name="vote"), make_remote(reader=members[0])]
    for threshold, deferred in ((0.0, 3), (NEVER, 0)):
        gates = [Gate(rule=Vote(), threshold=threshold), None]
        cascade = Cascade(tiers=tiers, gates=gates, clock=jumping_clock)
        out = tmp_path / f"{threshold}.jsonl"
        summary = record_trace(EdgeClient(cascade), records(3), out)
        trace = read_trace(out)
        assert (summary.queries, summary.deferred, summary.unanswered) == (3, deferred, 0)
        for record in trace.records:
            vote, large = record.tiers
            assert vote is not None
            assert large is not None
            assert not vote.stopped_early
            for member, said in zip(members, vote.members, strict=True):
                steps = member.artifact.generate(member.artifact.encode(record.prompt))
                assert said.logprobs == [step.logprob for step in steps]
                assert said.text == member.artifact.text_of(steps)


def test_a_lost_answer_is_kept_as_lost_and_a_lost_cloud_ends_the_recording(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    good = scripted_cloud.replies[0]
    scripted_cloud.fails()
    (boom,) = scripted_cloud.replies
    scripted_cloud.replies = [good, boom, good, boom]
    out = tmp_path / "t.jsonl"
    summary = record_trace(make_client(ALWAYS), records(4), out)
    assert (summary.queries, summary.deferred, summary.unanswered) == (4, 4, 2)
    lost = [record for record in read_trace(out).records if record.tiers[1] is None]
    assert [record.outcome for record in lost] == ["degraded", "degraded"]
    assert all(record.reason for record in lost)
    other = tmp_path / "other.jsonl"
    with pytest.raises(CloudError, match="3 queries in a row failed"):
        record_trace(make_client(ALWAYS), records(4), other)
    assert list(tmp_path.iterdir()) == [out]


def test_what_stays_on_the_device_may_still_lack_the_clouds_answer(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    scripted_cloud.fails()
    out = tmp_path / "t.jsonl"
    summary = record_trace(make_client(NEVER), records(2), out)
    assert (summary.deferred, summary.unanswered) == (0, 2)
    for record in read_trace(out).records:
        assert (record.outcome, record.answered_by, record.tiers[1]) == ("answered", 0, None)
        assert record.reason is not None


def test_a_server_that_becomes_another_model_ends_the_recording(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    first, second = (pb.ModelIdentity(name="scripted", revision=revision) for revision in "12")
    scripted_cloud.info = pb.GetModelInfoResponse(model=first, parameter_count=9)
    scripted_cloud.says(model=first)
    (as_first,) = scripted_cloud.replies
    scripted_cloud.says(model=second)
    scripted_cloud.replies = [as_first, as_first, *scripted_cloud.replies]
    with pytest.raises(CloudError, match=r"3 queries in a row failed; .* MODEL_MISMATCH"):
        record_trace(make_client(ALWAYS), records(6), tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_cloud_that_is_not_there_is_said_before_anything_is_asked(
    make_client: MakeClient, nobody: str, artifact: Artifact, tmp_path: Path
) -> None:
    runtime: Any = artifact._runtime
    before = runtime.tokens_run
    with pytest.raises(CloudError, match="UNAVAILABLE"):
        record_trace(make_client(ALWAYS, address=nobody), records(2), tmp_path / "t.jsonl")
    assert runtime.tokens_run == before
    assert list(tmp_path.iterdir()) == []


def test_one_bad_prompt_stops_a_recording_before_it_starts(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    bad = Record(id="bad", task="t", prompt=" ", references=[])
    with pytest.raises(PromptError, match="record 'bad': the prompt is empty"):
        record_trace(make_client(ALWAYS), [*records(2), bad], tmp_path / "t.jsonl")
    assert scripted_cloud.asked == []
    assert list(tmp_path.iterdir()) == []
