"""Members at addresses: asked at once, they vote; who fails is out, who is late is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from held import HELD_S
from scripted import ScriptedCloud, good_reply

from escalade.edge import Query
from escalade.edge.base import Record
from escalade.edge.errors import CascadeError, CloudError
from escalade.edge.shadow import record_trace
from escalade.edge.tiers import (
    RemoteEnsembleTier,
    RemoteMember,
    RemoteTier,
)
from escalade.edge.trace import flops_of, links_of, money_of, read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
NEVER, ALWAYS = 1e9, -1.0


def test_all_are_asked_at_the_same_time(clouds: list[ScriptedCloud], vote: Any) -> None:
    together = threading.Barrier(3, timeout=HELD_S)

    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        together.wait()  # nobody passes before all three have come
        return good_reply(request, context)

    for cloud in clouds:
        cloud.replies = [reply]
    answer = vote().ask(PROMPT, shadow=True)  # which waits for all
    assert (answer.text, answer.score) == ("large answer", 0.0)
    assert [one.text for one in answer.said.members] == ["large answer"] * 3


@pytest.mark.parametrize(
    ("rule", "texts", "weights", "text", "score"),
    [
        ("vote", ["a", "b", "b"], [1, 1, 1], "b", 1 / 3),
        ("vote", ["a", "b", "b"], [3, 1, 1], "a", 0.4),
        ("vote", ["b", "B ", "b"], [1, 1, 1], "b", 1 / 3),
        ("vote:folded", ["b", "B ", "a"], [1, 1, 1], "b", 1 / 3),
        ("vote:number", ["it is 7", "7.0", "seven"], [1, 1, 1], "it is 7", 1 / 3),
        ("similarity:edit", ["abcd", "abcx", "zzzz"], [1, 1, 1], "abcd", 1 - 1.75 / 3),
    ],
)
def test_the_answers_vote_by_any_rule_of_texts(
    clouds: list[ScriptedCloud],
    vote: Any,
    rule: str,
    texts: list[str],
    weights: list[float],
    text: str,
    score: float,
) -> None:
    for cloud, says in zip(clouds, texts, strict=True):
        cloud.says(text=says)
    answer = vote(rule=rule, weights=weights).ask(PROMPT, shadow=True)
    assert answer.text == text
    assert answer.score == pytest.approx(score)


def test_mean_score_is_of_log_probabilities_that_travel_and_0_of_who_gives_none(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    clouds[0].says(text="a", token_ids=[1, 2], logprobs=[-0.5, -1.5])
    clouds[1].says(text="a", token_ids=[1], logprobs=[-0.25])
    answer = vote(rule="mean-score").ask(PROMPT, shadow=True)
    assert answer.text == "a"
    expected = 1 - (2.718281828459045**-1.0 + 2.718281828459045**-0.25) / 3
    assert answer.score == pytest.approx(expected)
    assert all(cloud.asked[0].output.logprobs for cloud in clouds)
    clouds[1].says(text="a")
    answer = vote(rule="mean-score").ask(PROMPT, shadow=True)
    assert answer.score == pytest.approx(1 - 2.718281828459045**-1 / 3)


def test_every_call_counts_and_the_slowest_is_the_time(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    said = vote(prices=(1e6, 0, 2e6)).ask(PROMPT, shadow=True).said
    assert said.link is None
    assert [link.bytes_up for link in links_of(said)] == [
        cloud.asked[0].ByteSize() for cloud in clouds
    ]
    assert all(link.bytes_down > 0 and link.attempts == 1 for link in links_of(said))
    assert [link.server_s for link in links_of(said)] == [0.75] * 3
    assert said.seconds >= max(one.seconds for one in said.members)
    assert [(one.prompt_tokens, one.generated_tokens) for one in said.members] == [(4, 3)] * 3
    infos = vote(prices=(1e6, 0, 2e6)).cascade.tiers[0].members()
    spent = list(zip(said.members, infos, strict=True))
    assert [flops_of(*one) for one in spent] == [140.0, 280.0, 420.0]
    assert [money_of(*one) for one in spent] == [3.0, 0.0, 6.0]


def test_of_a_deadline_each_has_what_one_address_would_have(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    vote().ask(Query(text=PROMPT, deadline_s=10.0), shadow=True)
    for cloud in clouds:
        assert 8.0 < cloud.left_s[0] <= 9.0


def behind_a_gateway(cloud: ScriptedCloud) -> None:
    """It has a small model and a large one; this query came to both."""
    described = [
        pb.TierDescription(
            tier=name,
            place=place,
            members=[pb.MemberReport(model=pb.ModelIdentity(name=name), parameter_count=size)],
        )
        for name, place, size in (("near", pb.PLACE_GATEWAY, 100), ("far", pb.PLACE_CLOUD, 1000))
    ]
    cloud.info = pb.GetModelInfoResponse(
        model=pb.ModelIdentity(name="gateway", revision="g"), parameter_count=100, tiers=described
    )
    reports = [
        pb.TierReport(
            tier=one.tier,
            place=one.place,
            members=[
                pb.MemberReport(
                    model=one.members[0].model, prompt_tokens=4, generated_tokens=6, seconds=0.5
                )
            ],
        )
        for one in described
    ]
    cloud.says(text="b", model=pb.ModelIdentity(name="far"), reports=reports)


def test_of_a_member_that_is_a_gateway_every_model_that_ran_counts(
    clouds: list[ScriptedCloud], vote: Any, tmp_path: Path
) -> None:
    behind_a_gateway(clouds[2])
    trace = tmp_path / "trace.jsonl"
    asked = Record(id="1", task="", prompt=PROMPT, references=["b"])
    record_trace(vote(prices=(0, 0, 1e6)), [asked], trace)
    (record,), header = read_trace(trace).records, read_trace(trace).header
    said, infos = record.tiers[0], header.tiers[0].members
    assert [one.name for one in infos] == ["model-10", "model-20", "gateway"]
    assert (said.members[2].prompt_tokens, said.members[2].generated_tokens) == (8, 12)
    assert flops_of(said.members[2], infos[2]) == 2 * 10 * 100 + 2 * 10 * 1000
    assert money_of(said.members[2], infos[2]) == 12.0
    assert flops_of(said.members[0], infos[0]) == 140.0
    assert [hop.tier for hop in said.members[2].call.hops] == ["near", "far"]


def test_a_model_has_one_vote_wherever_it_is_served(
    clouds: list[ScriptedCloud], vote: Any, tmp_path: Path
) -> None:
    clouds[1].info = clouds[0].info
    tier = vote().cascade.tiers[0]
    with pytest.raises(CascadeError, match="tier 'panel': .* are the same model by content"):
        tier.members()
    # The query is answered all the same, and its record says why there is none.
    answer = vote(NEVER, trace=tmp_path / "trace.jsonl").ask(PROMPT)
    assert answer.text == "a"
    assert answer.trace_error is not None
    assert "same model by content" in answer.trace_error


def test_one_that_does_not_say_who_it_is_leaves_no_header(
    clouds: list[ScriptedCloud], vote: Any, nobody: str
) -> None:
    addresses = [clouds[0].address, nobody, clouds[2].address]
    with pytest.raises(CloudError, match=nobody):
        vote(addresses=addresses, deadline_s=0.3).trace_header()


def test_fewer_than_two_are_no_ensemble(make_remote: Callable[..., RemoteTier]) -> None:
    with pytest.raises(CascadeError, match="an ensemble needs at least 2 members, got 1"):
        RemoteEnsembleTier([RemoteMember(make_remote())])
