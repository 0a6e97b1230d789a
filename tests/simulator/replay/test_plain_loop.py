"""Virtual-time replay against a plain loop, and calls at once against one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from drawn_profiles import any_profiles, simple_profiles
from hypothesis import example, given, settings
from hypothesis import strategies as st
from votes import is_decided, is_settled

from escalade.edge.deferral import Voice, Vote, defers
from escalade.edge.trace import MemberAnswer, TierAnswer, TierInfo, Trace, TraceRecord
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.network.delay_lines.at_once import draws_of
from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.recorded.costs import COSTS
from escalade.simulator.replay.course import trips
from escalade.simulator.replay.replay import replay
from escalade.simulator.replay.setting import Setting


class Expected:
    """One query through a cascade, as slowly and plainly as can be."""

    def __init__(
        self, trace: Trace, q: int, taus: list[float], profiles: list[Profile], seed: int
    ) -> None:
        infos, answers = trace.header.tiers, trace.records[q].tiers
        self.members, self.up, self.down = ([0] * len(infos) for _ in range(3))
        self.flops = self.money = 0.0
        # All of them were on the way to the answer.
        self.seconds = trace.records[q].total_s - sum(answer.seconds for answer in answers)
        for k, (info, answer) in enumerate(zip(infos, answers, strict=True)):
            is_last = k == len(infos) - 1
            asked = members_asked(info, answer, None if is_last else taus[k])
            self.members[k] = asked
            ran = list(zip(answer.members, info.members, strict=True))[:asked]
            for said, model in ran:
                tokens = said.prompt_tokens + said.generated_tokens
                self.flops += 2 * model.parameters * tokens
                self.money += said.prompt_tokens * model.prompt_price / 1e6
                self.money += said.generated_tokens * model.generated_price / 1e6
            if answer.link is None:
                spent = [said.seconds for said, _ in ran]
                if info.side_by_side and len(ran) > 1:
                    waited = waited_for(answer, None if is_last else taus[k])
                    spent = [said.seconds for said in waited]
                every = [said.seconds for said in answer.members]
                beside = answer.seconds - (max(every) if info.side_by_side else sum(every))
                self.seconds += (max(spent) if info.side_by_side else sum(spent)) + beside
            else:
                self.up[k] = answer.link.bytes_up + GRPC_BYTES_UP
                self.down[k] = answer.link.bytes_down + GRPC_BYTES_DOWN
                link = sum(one.link is not None for one in answers[:k])
                self.seconds += trip_s(profiles[k], seed, q, link, answer, self.up[k], self.down[k])
                self.seconds += answer.seconds - answer.link.round_trip_s
            self.answered_by = k
            if is_last or not defers(answer.score, taus[k]):
                break


def members_asked(info: TierInfo, answer: TierAnswer, tau: float | None) -> int:
    texts = [member.text for member in answer.members]
    if len(texts) == 1 or info.side_by_side or answer.link is not None:
        return len(texts)
    for asked in range(1, len(texts)):
        if tau is None and is_settled(texts[:asked], len(texts)):
            return asked
        if tau is not None and is_decided(texts[:asked], len(texts), tau):
            return asked
    return len(texts)


def waited_for(answer: TierAnswer, tau: float | None) -> list[MemberAnswer]:
    """Side by side, those that end first and decide it, as the device's ensemble asks."""
    vote, weights = Vote(), [1.0] * len(answer.members)
    sooner = sorted(answer.members, key=lambda said: said.seconds)
    for many in range(1, len(sooner)):
        voices = [Voice(said.member, said.text) for said in sooner[:many]]
        if tau is None and vote.is_settled(voices, weights):
            return sooner[:many]
        if tau is not None and vote.is_decided(voices, weights, tau):
            return sooner[:many]
    return sooner


def trip_s(
    profile: Profile, seed: int, q: int, link: int, answer: TierAnswer, up: int, down: int
) -> float:
    counter = np.array([0, 0, 0, link], dtype=np.uint64)
    key = np.array([seed, q], dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(counter=counter, key=key))
    there_s = DelayLine(profile, "up", rng).release_s(0.0, up)
    back = DelayLine(profile, "down", rng)
    if profile.loss:  # gRPC's ping, which may be lost too, goes ahead of the answer
        back.release_s(there_s, 17)
    return back.release_s(there_s + answer.link.round_trip_s, down)


TAUS = st.sampled_from([-math.inf, 0.0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.0, math.inf, 0.4])


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_replay_is_the_plain_loop_query_by_query(
    make_cascade: Callable[..., Trace], members: list[int], seed: int, data: st.DataObject
) -> None:
    tiers = len(members)
    each = st.lists(st.booleans(), min_size=tiers, max_size=tiers)
    networks = [get_profile(name) for name in ("free", "lte", "leo", "wifi-good")]
    # So that more than one call in a hundred loses something.
    networks.append(msgspec.structs.replace(networks[-1], name="lossy", loss=0.2))
    named = st.sampled_from(networks)
    linked = data.draw(each)
    trace = make_cascade(members, 12, seed=seed, linked=linked, side_by_side=data.draw(each))
    for q in data.draw(st.lists(st.integers(0, 11), max_size=3)):
        broken = msgspec.structs.replace(trace.records[q].tiers[0], score=math.nan)
        if members[0] == 1:
            rest = trace.records[q].tiers[1:]
            trace.records[q] = msgspec.structs.replace(trace.records[q], tiers=[broken, *rest])
    taus = data.draw(st.lists(TAUS, min_size=tiers - 1, max_size=tiers - 1))
    profiles = [data.draw(named) for _ in members]
    links = tuple((f"tier{k}", profile) for k, profile in enumerate(profiles))
    network = Network(profiles[0] if data.draw(st.booleans()) else None, links)
    run = replay(trace, network, taus, seed=seed)
    tables = {
        name: [tier.at_levels(COSTS[name]) for tier in run.course.tiers]
        for name in ("flops_per_query", "money")
    }
    spent = {name: run.climb.spent(costs) for name, costs in tables.items()}
    up = down = np.zeros(tiers, dtype=np.int64)
    for q in range(12):
        expected = Expected(trace, q, taus, profiles, seed)
        assert run.answered_by[q] == expected.answered_by
        assert run.members[:, q].tolist() == expected.members
        assert run.cascade_s[q] == pytest.approx(expected.seconds, rel=1e-12)
        assert spent["flops_per_query"][q] == pytest.approx(expected.flops, rel=1e-12)
        assert spent["money"][q] == pytest.approx(expected.money, rel=1e-12)
        up, down = up + expected.up, down + expected.down
    assert run.bytes_up.tolist() == up.tolist()
    assert run.bytes_down.tolist() == down.tolist()


@settings(max_examples=60, deadline=None)
@example(profile=get_profile("5g-metered-hours"), seed=1)
@given(
    profile=st.sampled_from([*shipped_profiles().values()]) | simple_profiles() | any_profiles(),
    seed=st.integers(0, 2**64 - 1),
)
def test_calls_at_once_are_calls_one_after_the_other(
    make_cascade: Callable[..., Trace], profile: Profile, seed: int
) -> None:
    """Where draws are counted, calls are added up together: to the last bit the delay line's."""
    made = make_cascade([1, 1], 12, linked=[False, True])
    trace = made._replace(records=[_drafted(record) for record in made.records])
    setting = Setting(dialled=0.3)
    together = replay(trace, Network(profile), [0.5], setting=setting, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trips, "draws_of", lambda profile: None)
        one_by_one = replay(trace, Network(profile), [0.5], setting=setting, seed=seed)
    assert together.cascade_s.tolist() == one_by_one.cascade_s.tolist()
    assert together.course.last_only_s.tolist() == one_by_one.course.last_only_s.tolist()


def _drafted(record: TraceRecord) -> TraceRecord:
    *below, last = record.tiers
    assert last is not None
    assert last.link is not None
    link = msgspec.structs.replace(last.link, draft_bytes=7)
    return msgspec.structs.replace(record, tiers=[*below, msgspec.structs.replace(last, link=link)])


def test_what_draws_a_known_number_is_told_from_what_does_not() -> None:
    known = {name: draws_of(one) for name, one in shipped_profiles().items()}
    assert (known["lte"], known["wifi-good"], known["leo"], known["leo-handover"]) == (0, 3, 2, 3)
    # A cycle needs one, the moment; how many outages by chance a call meets is not known before.
    assert known["5g-metered-hours"] == 1
    assert [name for name, draws in known.items() if draws is None] == ["lte-lift"]
