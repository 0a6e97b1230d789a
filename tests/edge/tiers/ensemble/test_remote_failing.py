"""Members at addresses of which some do not answer, are not waited for, or are given up."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import msgspec
import pytest
from held import HELD_S, Held
from scripted import ScriptedCloud

from escalade.edge import Query
from escalade.edge.errors import CloudError
from escalade.edge.run import Run
from escalade.edge.trace import links_of
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"


def out_of_reach(cloud: ScriptedCloud, nobody: str) -> str:
    return nobody


def refuses(cloud: ScriptedCloud, nobody: str) -> str:
    cloud.fails()
    return cloud.address


def says_what_cannot_be(cloud: ScriptedCloud, nobody: str) -> str:
    cloud.says(text="a", token_ids=[1], logprobs=[0.5])
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
        cloud.says(text="a")
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
    clouds[0].says(text="b")

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
