"""Members at addresses: asked at once, they vote; who fails is out, who is late is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from held import HELD_S, Held
from scripted import ScriptedCloud, good_reply, scripted

from escalade.edge import Cascade, EdgeClient, Query
from escalade.edge.base import Record
from escalade.edge.deferral import Gate, agreement_named
from escalade.edge.errors import CascadeError, CloudError
from escalade.edge.outbox import OutboxOptions
from escalade.edge.run import Run
from escalade.edge.shadow import record_trace
from escalade.edge.tiers import (
    ArtifactTier,
    Member,
    RemoteEnsembleTier,
    RemoteMember,
    RemoteTier,
    Tier,
)
from escalade.edge.trace import MemberAnswer, flops_of, links_of, money_of, read_trace
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
NEVER, ALWAYS = 1e9, -1.0


@pytest.fixture
def clouds() -> Iterator[list[ScriptedCloud]]:
    """Three that say a, a and b, and who they are."""
    with scripted() as one, scripted() as two, scripted() as three:
        for cloud, text, size in ((one, "a", 10), (two, "a", 20), (three, "b", 30)):
            answers(cloud, text)
            cloud.info = pb.GetModelInfoResponse(
                model=pb.ModelIdentity(name=f"model-{size}", revision=f"{size}"),
                parameter_count=size,
                engine="scripted",
            )
        yield [one, two, three]


def answers(cloud: ScriptedCloud, text: str, **said: Any) -> None:
    """From now on it says this text, and not what a good reply says."""

    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        answer = good_reply(request, context)
        answer.text = text
        answer.MergeFrom(pb.GenerateResponse(**said))
        return answer

    cloud.replies = [reply]


@pytest.fixture
def vote(clouds: list[ScriptedCloud], artifact: Any, tmp_path: Path) -> Iterator[Any]:
    """Makes a client of members at addresses, with tiers below and above where they are asked for.

    The clock is the machine's: who is held is held until the test says so.
    """
    made: list[EdgeClient] = []

    def make(
        threshold: float | None = None,
        *,
        rule: str = "vote",
        weights: Sequence[float] = (1.0, 1.0, 1.0),
        addresses: Sequence[str] | None = None,
        deadline_s: float = HELD_S,
        above: str | None = None,
        below: bool = False,
        prices: Sequence[float] = (0.0, 0.0, 0.0),
        **options: Any,
    ) -> EdgeClient:
        members = [
            RemoteMember(
                RemoteTier(CloudClient(address, deadline_s=deadline_s), generated_price=price),
                weight,
            )
            for address, weight, price in zip(
                addresses or [cloud.address for cloud in clouds], weights, prices, strict=True
            )
        ]
        tiers: list[Tier] = [RemoteEnsembleTier(members, name="panel")]
        gates: list[Gate | None] = [Gate(rule=agreement_named(rule), threshold=threshold)]
        if below:
            tiers.insert(0, ArtifactTier(Member(artifact), name="device"))
            gates.insert(0, Gate(rule=artifact.rule, threshold=ALWAYS))
            gates[-1] = None if above is None else gates[-1]
        if above is not None:
            tiers.append(RemoteTier(CloudClient(above, deadline_s=2.0), name="large"))
            gates.append(None)
        kept = OutboxOptions(tmp_path / "outbox.sqlite", "here") if options.pop("keep", 0) else None
        cascade = Cascade(tiers=tiers, gates=gates, outbox=kept)
        made.append(EdgeClient(cascade, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def members_of(client: EdgeClient, **query: Any) -> list[MemberAnswer]:
    return list(client.ask(Query(text=PROMPT, **query)).said.members)


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
        answers(cloud, says)
    answer = vote(rule=rule, weights=weights).ask(PROMPT, shadow=True)
    assert answer.text == text
    assert answer.score == pytest.approx(score)


def test_mean_score_is_of_log_probabilities_that_travel_and_0_of_who_gives_none(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    answers(clouds[0], "a", token_ids=[1, 2], logprobs=[-0.5, -1.5])
    answers(clouds[1], "a", token_ids=[1], logprobs=[-0.25])
    answer = vote(rule="mean-score").ask(PROMPT, shadow=True)
    assert answer.text == "a"
    expected = 1 - (2.718281828459045**-1.0 + 2.718281828459045**-0.25) / 3
    assert answer.score == pytest.approx(expected)
    assert all(cloud.asked[0].output.logprobs for cloud in clouds)
    answers(clouds[1], "a")
    assert vote(rule="mean-score").ask(PROMPT).score == pytest.approx(1 - 2.718281828459045**-1 / 3)


def test_every_call_counts_and_the_slowest_is_the_time(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    said = vote(prices=(1e6, 0, 2e6)).ask(PROMPT).said
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


def out_of_reach(cloud: ScriptedCloud, nobody: str) -> str:
    return nobody


def refuses(cloud: ScriptedCloud, nobody: str) -> str:
    cloud.fails()
    return cloud.address


def says_what_cannot_be(cloud: ScriptedCloud, nobody: str) -> str:
    answers(cloud, "a", token_ids=[1], logprobs=[0.5])
    return cloud.address


def hangs(cloud: ScriptedCloud, nobody: str) -> str:
    cloud.replies = [Held()]
    return cloud.address


FAULTS = {
    out_of_reach: "UNAVAILABLE: cloud 127.0.0.1:",
    refuses: "UNKNOWN: cloud 127.0.0.1:",
    says_what_cannot_be: "BAD_ANSWER: 127.0.0.1:",
    hangs: "DEADLINE_EXCEEDED: cloud 127.0.0.1:",
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_fails_agrees_with_nobody_and_the_vote_goes_on_and_says_so(
    clouds: list[ScriptedCloud], vote: Any, nobody: str, fault: Any, place: int
) -> None:
    for cloud in clouds:
        answers(cloud, "a")
    addresses = [cloud.address for cloud in clouds]
    addresses[place] = fault(clouds[place], nobody)
    answer = vote(addresses=addresses, deadline_s=0.5).ask(PROMPT, shadow=True)  # waits for all
    assert (answer.text, answer.outcome, answer.reason) == ("a", "answered", None)
    assert answer.score == pytest.approx(1 / 3)
    members = answer.said.members
    assert [one.text for one in members] == ["a" if k != place else None for k in range(3)]
    assert [isinstance(one.failed, str) for one in members] == [k == place for k in range(3)]
    assert str(members[place].failed).startswith(FAULTS[fault])
    assert addresses[place] in str(members[place].failed)
    # What was sent in vain counts, and so does the wait for it.
    assert links_of(answer.said)[place].bytes_up > 0
    assert members[place].generated_tokens == 0
    if fault is hangs:
        assert answer.said.seconds >= members[place].seconds >= 0.4


def test_where_all_fail_the_tier_does_and_what_may_come_later_is_kept(
    clouds: list[ScriptedCloud], vote: Any, nobody: str
) -> None:
    clouds[0].fails()
    addresses = [clouds[0].address, nobody, nobody]
    client = vote(0.5, addresses=addresses, deadline_s=0.3, below=True, keep=True)
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.tier) == ("degraded", "device")
    assert answer.reason is not None
    assert answer.reason.startswith("UNAVAILABLE: tier 'panel': no member answered: UNKNOWN: ")
    assert f"; UNAVAILABLE: cloud {nobody}" in answer.reason  # of two alike, once
    assert answer.kept is not None
    for cloud in clouds:
        cloud.fails()
    refused = vote(0.5, below=True, keep=True).ask(PROMPT)  # for good: nothing comes of waiting
    assert (refused.outcome, refused.kept) == ("degraded", None)
    with pytest.raises(CloudError, match=r"UNKNOWN: tier 'panel': no member answered") as caught:
        vote().ask(PROMPT)
    assert caught.value.cause == "query"


def test_once_it_is_decided_the_others_are_cancelled_at_their_servers_and_counted(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    held = Held()
    clouds[2].replies = [held]
    client = vote(0.5, above=clouds[0].address)
    answer = client.ask(PROMPT)
    assert held.hung_up.wait(HELD_S)
    assert (answer.text, answer.outcome, answer.tier) == ("a", "answered", "panel")
    assert answer.said.stopped_early
    assert answer.score == pytest.approx(1 / 3)  # the bound that decided
    late = answer.said.members[2]
    assert (late.text, late.failed, late.generated_tokens) == (None, msgspec.UNSET, 0)
    assert late.call is not msgspec.UNSET
    assert late.call.link.bytes_up == clouds[2].asked[0].ByteSize()
    assert late.seconds <= answer.said.seconds


def test_in_shadow_mode_all_are_heard(clouds: list[ScriptedCloud], vote: Any) -> None:
    held = Held()
    clouds[2].replies = [held]
    client = vote(0.5, above=clouds[0].address)
    waits = threading.Thread(target=lambda: held.arrived.wait(HELD_S) and held.go.set())
    waits.start()
    answer = client.ask(PROMPT, shadow=True)
    waits.join()
    assert [one.text for one in answer.tiers[0].members] == ["a", "a", "large answer"]
    assert not answer.tiers[0].stopped_early


def test_where_nobody_above_answers_those_that_were_cancelled_are_asked_again(
    clouds: list[ScriptedCloud], vote: Any, nobody: str
) -> None:
    """Two that differ already say that it is deferred at unanimity; who wins they do not say."""
    held = Held()
    answers(clouds[0], "b")

    def again(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        return clouds[1].replies[0](request, context)

    clouds[2].replies = [held, again]
    client = vote(0.2, above=nobody)
    answer = client.ask(PROMPT)
    assert held.hung_up.wait(HELD_S)
    assert (answer.text, answer.outcome, answer.tier) == ("a", "degraded", "panel")
    assert not answer.said.stopped_early
    assert [len(cloud.asked) for cloud in clouds] == [1, 1, 2]
    last = answer.said.members[2]
    assert last.call is not msgspec.UNSET
    assert last.call.link.attempts == 2
    assert last.call.link.bytes_up == sum(one.ByteSize() for one in clouds[2].asked)


def test_a_caller_that_goes_away_takes_all_calls_with_it(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    held = [Held() for _ in clouds]
    for cloud, reply in zip(clouds, held, strict=True):
        cloud.replies = [reply]
    gone = threading.Event()
    run = Run(vote().cascade, Query(text=PROMPT), cancelled=gone.is_set)

    def leave() -> None:
        assert all(one.arrived.wait(HELD_S) for one in held)
        gone.set()

    leaves = threading.Thread(target=leave)
    leaves.start()
    assert run.finish() is None
    leaves.join()
    assert all(one.hung_up.wait(HELD_S) for one in held)


def test_of_a_deadline_each_has_what_one_address_would_have(
    clouds: list[ScriptedCloud], vote: Any
) -> None:
    members_of(vote(), deadline_s=10.0)
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
    answers(cloud, "b", model=pb.ModelIdentity(name="far"), reports=reports)


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
