"""A tier whose members are behind links of their own, replayed: the slowest, and all the bytes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Hop, Link, MemberAnswer, MemberCall, MemberInfo, Trace
from escalade.simulator.errors import ProfileError
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Network, get_profile
from escalade.simulator.recorded import cost_named, tiers_of, with_prices
from escalade.simulator.replay.replay import replay
from escalade.simulator.replay.simulation import networks_of, run_simulation

QUERIES = 40
replace = msgspec.structs.replace
#: Of each member: the call's seconds, and bytes up, draft among them, and down.
CALLS = ((0.020, 300, 100, 50), (0.030, 200, 0, 60), (0.010, 100, 0, 70))


def over(profile: str) -> Network:
    return Network(get_profile(profile))


def call(
    seconds: float, up: int, draft: int, down: int, hops: list[Hop] | None = None
) -> MemberCall:
    link = Link(
        round_trip_s=seconds, server_s=0.005, bytes_up=up, draft_bytes=draft, bytes_down=down
    )
    return MemberCall(link=link, hops=hops or [])


@pytest.fixture
def panel(make_trace: Callable[..., Trace]) -> Trace:
    """Small, then three at addresses that took 20, 30 and 10 ms; the tier 1 ms more."""
    base = make_trace([0.9] * QUERIES, [False] * QUERIES, [True] * QUERIES)
    small, cloud = base.header.tiers
    members = [
        MemberInfo(name=name, parameters=size) for name, size in zip("abc", (1, 2, 3), strict=True)
    ]
    records = []
    for record in base.records:
        first, last = record.tiers
        assert first is not None
        assert last is not None
        said = [
            MemberAnswer(
                member=k,
                text="right",
                logprobs=[-0.1],
                prompt_tokens=4,
                generated_tokens=6,
                seconds=seconds,
                correct=True,
                call=call(seconds, *sizes),
            )
            for k, (seconds, *sizes) in enumerate(CALLS)
        ]
        last = replace(last, link=None, members=said, seconds=0.031)
        records.append(replace(record, tiers=[first, last]))
    tiers = [small, replace(cloud, members=members, side_by_side=True)]
    return Trace(replace(base.header, tiers=tiers), records)


def changed(trace: Trace, place: int, **fields: object) -> Trace:
    """The same, but for these fields of one member's answer to every query."""
    records = []
    for record in trace.records:
        first, last = record.tiers
        assert last is not None
        members = [replace(one, **fields) if one.member == place else one for one in last.members]
        records.append(replace(record, tiers=[first, replace(last, members=members)]))
    return Trace(trace.header, records)


def test_the_slowest_call_counts_and_the_bytes_of_all(panel: Trace) -> None:
    run = replay(panel, over("coe-100ms"), [-1.0], seed=0)
    np.testing.assert_allclose(run.course.last_only_s, 0.001 + 0.030 + 0.100)
    assert run.bytes_up.tolist() == [0, QUERIES * (600 + 3 * GRPC_BYTES_UP)]
    assert run.bytes_down.tolist() == [0, QUERIES * (180 + 3 * GRPC_BYTES_DOWN)]
    assert run.last_only_bytes_up == QUERIES * (500 + 3 * GRPC_BYTES_UP)
    assert run.members[1].tolist() == [3] * QUERIES


def test_each_crosses_a_link_of_its_own(panel: Trace) -> None:
    """At the same time: all three are no later than the latest of three alone, and as late."""
    slowest = replay(panel, over("leo"), [-1.0], seed=3).course.last_only_s
    alone = [
        replay(only(panel, place), over("leo"), [-1.0], seed=3).course.last_only_s
        for place in range(3)
    ]
    np.testing.assert_allclose(slowest, np.max(alone, axis=0))
    # Each has its own luck: no one of them is always the latest.
    assert len(set(np.argmax(alone, axis=0).tolist())) > 1


def test_each_link_may_have_a_profile_of_its_own(panel: Trace) -> None:
    """`c`, the fastest, is behind the slowest link; two that share a name go by their places."""
    profiles = ["coe-10ms", "panel/c=coe-100ms"]
    tiers = [panel.header.tiers[0], replace(panel.header.tiers[1], name="panel")]
    trace = Trace(replace(panel.header, tiers=tiers), panel.records)
    (network,) = networks_of([trace], profiles)
    found = run_simulation({"t": trace}, [network], [[-1.0]], seed=0)
    (run,) = [run for _, run in found.replays]
    np.testing.assert_allclose(run.course.last_only_s, 0.001 + 0.010 + 0.100)
    assert found.summary.networks[0].network == "coe-10ms, panel/c=coe-100ms"
    twins = [replace(one, name=name) for one, name in zip(tiers[1].members, "bab", strict=True)]
    header = replace(panel.header, tiers=[tiers[0], replace(tiers[1], members=twins)])
    (network,) = networks_of([Trace(header, panel.records)], ["coe-10ms", "panel/b#3=coe-1s"])
    run = replay(Trace(header, panel.records), network, [-1.0], seed=0)
    np.testing.assert_allclose(run.course.last_only_s, 0.001 + 0.010 + 1.0)
    with pytest.raises(ProfileError, match="got 'panel/b'; did you mean 'panel/b#"):
        networks_of([Trace(header, panel.records)], ["lte", "panel/b=lan"])


def only(trace: Trace, place: int) -> Trace:
    """The same where the calls of the others came to nothing and took no time."""
    for other in {0, 1, 2} - {place}:
        trace = changed(trace, other, call=msgspec.UNSET, seconds=0.0)
    beside = [
        replace(record, tiers=[record.tiers[0], replace(record.tiers[1], seconds=seconds)])
        for record in trace.records
        for seconds in [CALLS[place][0] + 0.001]
    ]
    return Trace(trace.header, beside)


def test_the_link_behind_a_member_is_crossed_too(panel: Trace) -> None:
    hops = [
        Hop(tier="near", place="gateway", model="m"),
        Hop(tier="far", place="cloud", model="l"),
    ]
    trace = changed(panel, 2, call=call(*CALLS[2], hops=hops))
    network = Network(get_profile("coe-10ms"), (("far", get_profile("coe-100ms")),))
    run = replay(trace, network, [-1.0], seed=0)
    np.testing.assert_allclose(run.course.last_only_s, 0.001 + 0.010 + 0.010 + 0.100)


def test_costs_are_of_all_members_and_of_every_model_of_a_gateway(panel: Trace) -> None:
    (tier,) = tiers_of(panel)[1:]
    answer = tier.answers[0]
    assert cost_named("bytes")(answer, tier.info) == 600 + 180
    assert cost_named("seconds")(answer, tier.info) == 0.030
    assert cost_named("flops_per_query")(answer, tier.info) == 2 * 10 * (1 + 2 + 3)
    models = [MemberInfo(name="near", parameters=100), MemberInfo(name="far", parameters=1000)]
    gateway = replace(tier.info.members[2], models=models)
    info = replace(tier.info, members=[*tier.info.members[:2], gateway])
    ran = [replace(answer.members[2], member=k, call=msgspec.UNSET) for k in range(2)]
    both = replace(answer.members[2], call=replace(call(*CALLS[2]), models=ran))
    said = replace(answer, members=[*answer.members[:2], both])
    assert cost_named("flops_per_query")(said, info) == 2 * 10 * (1 + 2) + 2 * 10 * 1100
    assert cost_named("flops_per_token")(said, info) == 2 * (1 + 2) + 2 * 1100
    header = replace(panel.header, tiers=[panel.header.tiers[0], info])
    priced = with_prices(Trace(header, panel.records), {"c": (0.0, 5e5), "a": (1e6, 0.0)})
    assert cost_named("money")(said, priced.header.tiers[1]) == 4.0 + 2 * 3.0
    # By the hour each model of the gateway, as it says, and of the others what their servers say.
    rented = with_prices(Trace(header, panel.records), {}, {"c": 3600.0, "a": 3600.0})
    computed_s = sum(one.seconds for one in ran) + answer.members[0].call.link.server_s
    assert cost_named("money")(said, rented.header.tiers[1]) == pytest.approx(computed_s)


def test_votes_are_judged_anew_under_another_threshold(panel: Trace) -> None:
    """As those of artifacts are: what each member said is in the trace."""
    tiers = [panel.header.tiers[0], replace(panel.header.tiers[1], rule="vote", threshold=0.5)]
    last = replace(panel.header.tiers[1], name="last", rule=None)
    header = replace(panel.header, tiers=[*tiers, last])
    records = [
        replace(record, tiers=[*record.tiers, record.tiers[1]], answered_by=1)
        for record in changed(panel, 1, text="other").records
    ]
    trace = Trace(header, records)
    assert tiers_of(trace)[1].score.tolist() == [1 / 3] * QUERIES
    assert replay(trace, over("free"), [-1.0, 0.3], seed=0).calls == QUERIES
    assert replay(trace, over("free"), [-1.0, 0.5], seed=0).calls == 0


def test_each_link_has_its_price_and_its_energy(panel: Trace) -> None:
    dear = replace(get_profile("lan"), price_per_gb=5.0, joules_per_mb=400.0, joules_per_call=12.0)
    cheap = replace(get_profile("lan"), price_per_gb=1.0, joules_per_mb=100.0)
    links = (("cloud/a", dear), ("cloud/b", cheap), ("cloud/c", cheap))
    run = replay(panel, Network(None, links), [-1.0], seed=0)
    sent = [up + down + GRPC_BYTES_UP + GRPC_BYTES_DOWN for _, up, _, down in CALLS]
    spending = run.course.spending
    assert spending.money is not None
    assert spending.called_j is not None
    money = (5.0 * sent[0] + 1.0 * (sent[1] + sent[2])) / 1e9
    np.testing.assert_allclose(spending.money[1], money)
    # One radio wakes once.
    np.testing.assert_allclose(
        spending.called_j[1], 12.0 + (400.0 * sent[0] + 100.0 * (sent[1] + sent[2])) / 1e6
    )
