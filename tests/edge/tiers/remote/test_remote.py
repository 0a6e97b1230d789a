"""Tiers elsewhere: who they say they are, what can be no answer, and why one ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Cascade, EdgeClient, Query, Sampling
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import CloudError
from escalade.edge.tiers import RemoteTier
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9

MakeClient = Callable[..., EdgeClient]


def identity(name: str, revision: str = "") -> pb.ModelIdentity:
    return pb.ModelIdentity(name=name, revision=revision)


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (identity("", ""), True),  # it does not say
        (identity("scripted", "1"), True),
        (identity("scripted", "2"), False),
        (identity("another", "1"), False),
    ],
)
def test_once_it_said_who_it_is_no_other_model_may_answer(
    make_client: MakeClient,
    scripted_cloud: Any,
    model: pb.ModelIdentity,
    taken: bool,
) -> None:
    scripted_cloud.info = pb.GetModelInfoResponse(
        model=identity("scripted", "1"), parameter_count=9
    )
    scripted_cloud.says(model=model)
    client = make_client(ALWAYS)
    assert client.ask(PROMPT).outcome == "deferred"  # nobody has asked
    client.trace_header()
    answer = client.ask(PROMPT)
    assert answer.outcome == ("deferred" if taken else "degraded")
    if not taken:
        assert answer.reason is not None
        assert answer.reason.startswith("MODEL_MISMATCH: 127.0.0.1:")
        assert answer.reason.endswith("which is not what it said it has: scripted")


def test_once_a_trace_names_it_the_server_is_told_whom_is_expected(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    scripted_cloud.info = pb.GetModelInfoResponse(
        model=identity("scripted", "1"), parameter_count=9
    )
    client = make_client(ALWAYS)
    client.ask(PROMPT)
    client.trace_header()
    client.ask(PROMPT)
    client.ask(PROMPT)
    first, *others = (request.expected_model for request in scripted_cloud.asked)
    assert first == pb.ModelIdentity()
    assert others == [identity("scripted", "1")] * 2


def test_behind_a_gateway_the_first_answer_says_which_weights_it_is_held_to(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    """A gateway names its models; two of one tier may take turns."""
    members = [pb.MemberReport(model=identity(name), parameter_count=9) for name in "ab"]
    scripted_cloud.info = pb.GetModelInfoResponse(
        model=identity("gateway", "g"),
        parameter_count=9,
        tiers=[pb.TierDescription(tier="pair", members=members)],
    )
    client = make_client(ALWAYS)
    client.trace_header()
    outcomes = []
    for name, revision in [("a", "1"), ("b", "2"), ("a", "1"), ("b", "3"), ("b", "2")]:
        scripted_cloud.says(
            model=identity(name, revision), reports=[pb.TierReport(tier="pair", members=members)]
        )
        outcomes.append(client.ask(PROMPT).outcome)
    assert outcomes == ["deferred"] * 3 + ["degraded", "deferred"]


def test_a_trace_that_was_begun_takes_answers_of_the_same_model_alone(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    """Between two processes the server has been given other weights of the same name."""
    trace = tmp_path / "trace.jsonl"
    for revision, added in [("1" * 64, True), ("1" * 64, True), ("2" * 64, False)]:
        scripted_cloud.info = pb.GetModelInfoResponse(
            model=identity("scripted", revision), parameter_count=9
        )
        scripted_cloud.says(model=identity("scripted", revision))
        answer = make_client(ALWAYS, trace=trace).ask(PROMPT)
        assert answer.outcome == "deferred"
        assert (answer.trace_error is None) is added
    assert answer.trace_error is not None
    assert "recorded under tier 'cloud' 'scripted' of 9 parameters (revision 11" in (
        answer.trace_error
    )
    assert len(read_trace(trace).records) == 2


def test_where_no_trace_names_it_another_model_is_asked_who_it_is(
    make_remote: Callable[..., RemoteTier], scripted_cloud: Any
) -> None:
    first, second = identity("scripted", "1"), identity("scripted", "2")
    scripted_cloud.info = pb.GetModelInfoResponse(model=first, parameter_count=9)
    scripted_cloud.says(model=second)
    tier = make_remote()
    client = EdgeClient(Cascade(tiers=[tier], gates=[None]))
    assert [one.parameters for one in tier.members()] == [9]  # as a gateway asks
    scripted_cloud.info = pb.GetModelInfoResponse(model=second, parameter_count=10)
    assert client.ask(PROMPT).outcome == "answered"
    assert [one.parameters for one in tier.members()] == [10]


def test_one_silent_tier_does_not_hide_who_the_others_are(
    make_remote: Callable[..., RemoteTier], nobody: str
) -> None:
    near, far = make_remote(name="near"), make_remote(nobody, name="far")
    gate = Gate(rule=mean_nll, threshold=0.5)
    header = Cascade(tiers=[near, far], gates=[gate, None]).header_if_known()
    assert [[one.name for one in tier.members] for tier in header.tiers] == [["scripted-large"], []]


BAD: list[dict[str, Any]] = [
    {"token_ids": [1], "logprobs": [math.nan]},
    {"token_ids": [1], "logprobs": [0.5]},
    {"token_ids": [1, 2], "logprobs": [-1.0]},
    {"stop_reason": pb.STOP_REASON_DEADLINE},
    {"timing": pb.Timing(queue_s=-1.0)},
    {"reports": [pb.TierReport(seconds=math.inf)]},
]


@pytest.mark.parametrize("fields", BAD)
def test_an_answer_that_cannot_be_is_none(
    make_client: MakeClient, scripted_cloud: Any, fields: dict[str, Any]
) -> None:
    scripted_cloud.says(**fields)
    answer = make_client(ALWAYS).ask(PROMPT)
    assert (answer.outcome, answer.answered_by, answer.tiers[1]) == ("degraded", 0, None)
    assert answer.reason is not None
    assert answer.reason.startswith("BAD_ANSWER: 127.0.0.1:")
    assert "\n" not in answer.reason


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        (pb.STOP_REASON_END_OF_SEQUENCE, "end"),
        (pb.STOP_REASON_STOP_SEQUENCE, "stop"),
        (pb.STOP_REASON_MAX_TOKENS, "length"),
        (pb.STOP_REASON_CONTEXT_LIMIT, "length"),
    ],
)
def test_why_the_answer_ended(
    make_client: MakeClient, scripted_cloud: Any, reason: Any, stop: str
) -> None:
    scripted_cloud.says(stop_reason=reason)
    assert make_client(ALWAYS).ask(PROMPT).stop == stop


def test_a_tier_that_does_not_say_who_it_is(
    make_remote: Callable[..., RemoteTier], nobody: str, jumping_clock: Any
) -> None:
    cascade = Cascade(tiers=[make_remote(nobody)], gates=[None], clock=jumping_clock)
    with pytest.raises(CloudError, match="UNAVAILABLE"):
        cascade.header()
    assert cascade.header(known_only=True).tiers[0].members == []
    assert cascade.header_if_known().tiers[0].members == []


def test_how_a_query_is_answered_travels_with_it(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    client = make_client(ALWAYS)
    client.ask(PROMPT)
    drawn = Sampling(temperature=1e300, top_k=1 << 40, top_p=0.5, seed=(1 << 64) + 7)
    client.ask(Query(text=PROMPT, sampling=drawn, batch=True))
    greedy, sampled = scripted_cloud.asked
    assert not greedy.HasField("sampling")
    assert greedy.priority == pb.PRIORITY_UNSPECIFIED
    assert greedy.HasField("draft")
    # Within what the fields of the wire hold; a draft helps nobody who draws.
    assert 0 < sampled.sampling.temperature < math.inf
    assert (sampled.sampling.top_k, sampled.sampling.seed) == ((1 << 32) - 1, 7)
    assert sampled.sampling.top_p == 0.5
    assert sampled.priority == pb.PRIORITY_BATCH
    assert not sampled.HasField("draft")
