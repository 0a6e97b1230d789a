"""Gateways: their reports become hops, members and costs, each whose it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import EdgeClient
from escalade.edge.trace import Hop, TierAnswer, read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9

MakeClient = Callable[..., EdgeClient]


def identity(name: str, revision: str = "") -> pb.ModelIdentity:
    return pb.ModelIdentity(name=name, revision=revision)


def member(
    name: str, tokens: int = 0, seconds: float = 0.0, parameters: int = 7
) -> pb.MemberReport:
    return pb.MemberReport(
        model=identity(name),
        parameter_count=parameters,
        prompt_tokens=2 * tokens,
        generated_tokens=tokens,
        seconds=seconds,
    )


#: A gateway of two models that vote, below a cloud.
GATEWAY = pb.GetModelInfoResponse(
    model=identity("gateway"),
    parameter_count=14,
    tiers=[
        pb.TierDescription(
            tier="vote", place=pb.PLACE_GATEWAY, members=[member("a"), member("b", parameters=8)]
        ),
        pb.TierDescription(tier="far", place=pb.PLACE_CLOUD, members=[member("a", parameters=900)]),
    ],
)
VOTE = pb.TierReport(
    tier="vote",
    place=pb.PLACE_GATEWAY,
    members=[member("a", 3, 0.25), member("b", 4, 0.5)],
    rule="vote",
    score=0.5,
    threshold=0.25,
    seconds=0.75,
)
FAR = pb.TierReport(tier="far", place=pb.PLACE_CLOUD, members=[member("a", 5, 1.5)], seconds=2.0)
SILENT = pb.TierReport(tier="far", place=pb.PLACE_CLOUD, reason="UNAVAILABLE: cloud far:\n gone")


def large(client: EdgeClient) -> TierAnswer:
    said = client.ask(PROMPT).tiers[1]
    assert said is not None
    return said


def costs(said: TierAnswer) -> list[tuple[int, int, int, float]]:
    return [
        (one.member, one.prompt_tokens, one.generated_tokens, one.seconds) for one in said.members
    ]


@pytest.mark.parametrize("known", [False, True])
def test_a_gateways_reports_become_hops_members_and_costs(
    make_client: MakeClient, scripted_cloud: Any, known: bool
) -> None:
    scripted_cloud.info = GATEWAY
    scripted_cloud.says(reports=[VOTE, FAR], model=identity("a"))
    client = make_client(ALWAYS, place="gateway", generated_price=2.0)
    if known:
        (_, tier) = client.trace_header().tiers
        assert [one.name for one in tier.members] == ["a", "b", "a"]
        assert [one.parameters for one in tier.members] == [7, 8, 900]
        assert {one.generated_price for one in tier.members} == {2.0}
    said = large(client)
    assert costs(said) == [(0, 6, 3, 0.25), (1, 8, 4, 0.5), (2, 10, 5, 1.5)]
    assert [one.text for one in said.members] == [None] * 3  # what they said did not travel
    assert said.hops == [
        Hop(tier="vote", place="gateway", model="a, b", score=0.5, threshold=0.25, seconds=0.75),
        Hop(tier="far", place="cloud", model="a", seconds=2.0),
    ]
    assert (said.text, said.stopped_early) == ("large answer", False)


def test_whose_cost_it_is_where_a_gateways_own_tier_was_passed_over(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    scripted_cloud.info = GATEWAY
    broken = pb.TierReport(tier="vote", place=pb.PLACE_GATEWAY, reason="out of memory")
    scripted_cloud.says(reports=[broken, FAR], model=identity("a"))
    client = make_client(ALWAYS)
    client.trace_header()
    said = large(client)
    # The model of that name in the tier that answered, and not the other one.
    assert costs(said) == [(2, 4, 3, 0.5)]
    assert said.members[0].text == "large answer"
    assert said.hops[0].reason == "out of memory"


def test_members_of_one_name_are_told_apart_by_their_order(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    twins = [member("a"), member("a", parameters=8)]
    scripted_cloud.info = pb.GetModelInfoResponse(
        model=identity("gateway"),
        parameter_count=15,
        tiers=[pb.TierDescription(tier="vote", place=pb.PLACE_GATEWAY, members=twins)],
    )
    ran = [member("a", 3, 0.25), member("a", 4, 0.5)]
    report = pb.TierReport(tier="vote", place=pb.PLACE_GATEWAY, members=ran)
    scripted_cloud.says(reports=[report], model=identity("a"))
    client = make_client(ALWAYS)
    client.trace_header()
    assert [cost[:3] for cost in costs(large(client))] == [(0, 6, 3), (1, 8, 4)]


def test_a_gateway_that_answers_for_its_silent_cloud_says_so(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    scripted_cloud.info = GATEWAY
    scripted_cloud.says(reports=[VOTE, SILENT], degraded=True, model=identity("b"))
    path = tmp_path / "t.jsonl"
    answer = make_client(ALWAYS, trace=path).ask(PROMPT)
    assert (answer.outcome, answer.answered_by, answer.text) == ("degraded", 1, "large answer")
    assert answer.given_at == "gateway"
    assert answer.reason == "UNAVAILABLE: cloud far: gone"  # of one line
    assert answer.said.hops[1] == Hop(
        tier="far", place="cloud", model="", reason="UNAVAILABLE: cloud far:\n gone"
    )
    (record,) = read_trace(path).records
    assert (record.outcome, record.answered_by) == ("degraded", 1)
    assert record.tiers[1] == answer.said
    scripted_cloud.says(degraded=True)
    assert make_client(ALWAYS).ask(PROMPT).reason == "no reason was given"
    # In shadow mode the device's own answer stands, whatever the gateway lacks.
    assert make_client(NEVER).ask(PROMPT, shadow=True).outcome == "answered"


def test_a_broken_models_score_behind_a_gateway_is_kept(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    broken = pb.TierReport(tier="near", place=pb.PLACE_GATEWAY, score=math.nan, threshold=0.5)
    scripted_cloud.says(reports=[broken, FAR])
    path = tmp_path / "t.jsonl"
    make_client(ALWAYS, trace=path).ask(PROMPT)
    (record,) = read_trace(path).records
    assert record.tiers[1] is not None
    score = record.tiers[1].hops[0].score
    assert score is not None
    assert math.isnan(score)


def test_a_plain_server_has_no_hops(make_client: MakeClient, scripted_cloud: Any) -> None:
    report = pb.TierReport(tier="cloud", place=pb.PLACE_CLOUD, members=[member("x", 3, 9.0)])
    scripted_cloud.says(reports=[report])
    said = large(make_client(ALWAYS))
    assert said.hops == []
    assert costs(said) == [(0, 4, 3, 0.5)]  # as usage and timing say
    # A gateway that answers by itself is no plain server.
    scripted_cloud.says(reports=[VOTE])
    answer = make_client(ALWAYS).ask(PROMPT)
    assert [hop.tier for hop in answer.said.hops] == ["vote"]
    assert (answer.place, answer.given_at) == ("cloud", "gateway")


def test_asking_who_a_gateway_is_costs_no_query_any_time(
    make_client: MakeClient, scripted_cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: object) -> Any:
        raise AssertionError("asked on a query's way")

    from escalade.edge.wire import CloudClient

    scripted_cloud.says(reports=[VOTE, FAR])
    monkeypatch.setattr(CloudClient, "model_info", never)
    assert len(large(make_client(ALWAYS)).members) == 3


def test_a_gateway_whose_cloud_was_silent_may_answer_through_it_later(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    scripted_cloud.info = pb.GetModelInfoResponse(
        model=identity("gateway"),
        parameter_count=14,
        tiers=[GATEWAY.tiers[0], pb.TierDescription(tier="far", place=pb.PLACE_CLOUD)],
    )
    scripted_cloud.says(reports=[VOTE, FAR], model=identity("unheard of"))
    client = make_client(ALWAYS)
    client.trace_header()
    assert client.ask(PROMPT).outcome == "deferred"
