"""Tiers elsewhere: who they say they are, what can be no answer, and why one ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from escalade.edge import Cascade, EdgeClient
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import CloudError
from escalade.edge.tiers import RemoteTier
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
