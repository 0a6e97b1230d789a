"""A trace has what members take by themselves, and what with the drafts that they read live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from virtual_clock import VirtualClock

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.base import Record
from escalade.edge.deferral import Gate, Vote, agreement_named
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member, Tier
from escalade.edge.trace import MemberAnswer, TierAnswer, Trace, TraceRecord
from escalade.simulator.network import Network, get_profile
from escalade.simulator.replay import replay

RECORD = Record(id="a", prompt="g2p: cascade", references=["x"], task="g2p")
# One that all members have more than that many tokens of: what begins alike is not read again.
LONG = Record(id="b", prompt="g2p: " + "cascade " * 3, references=["x"], task="g2p")
#: Seconds that a run of a program takes on the clock of these tests.
RUN_S = 1.0
HALF, UNANIMOUS = 0.5, 0.25


@pytest.fixture
def clock() -> VirtualClock:
    """Time passes while a program runs, and not else."""
    return VirtualClock()


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> list[int]:
    """The tokens of every run of a program, each of which takes a second."""
    lengths: list[int] = []
    run = OnnxRuntime._run

    def timed(self: OnnxRuntime, binding: object, new: list[int]) -> None:
        lengths.append(len(new))
        clock.at_s += RUN_S
        run(self, binding, new)

    monkeypatch.setattr(OnnxRuntime, "_run", timed)
    return lengths


@pytest.fixture
def make_vote(
    five: list[Member], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., EdgeClient]:
    """Votes of members, side by side in threads or not, and where asked for a tier above."""

    def make(
        threshold: float,
        order: tuple[int, ...] = (0, 1, 2),
        *,
        threads: bool | None = None,
        above: int | None = None,
    ) -> EdgeClient:
        vote = EnsembleTier([five[k] for k in order], side_by_side=threads is not None)
        monkeypatch.setattr(vote._pace, "in_threads", lambda: threads)
        tiers: list[Tier] = [vote]
        gates: list[Gate | None] = [Gate(rule=Vote(), threshold=threshold)]
        if above is not None:
            tiers.append(ArtifactTier(five[above]))
            gates.append(None)
        return EdgeClient(Cascade(tiers=tiers, gates=gates, clock=clock))

    return make


def said(record: TraceRecord, tier: int = 0) -> TierAnswer:
    found = record.tiers[tier]
    assert found is not None
    return found


def members(record: TraceRecord) -> list[MemberAnswer]:
    return said(record).members


def drafted(answers: Sequence[MemberAnswer]) -> list[float | msgspec.UnsetType]:
    return [one.drafted_s for one in answers]


@pytest.mark.parametrize("record", [RECORD, LONG])
def test_in_turn_each_has_its_own_seconds_both_ways(
    make_vote: Callable[..., EdgeClient], record: Record
) -> None:
    client = make_vote(HALF)
    live = client.ask(record.prompt).said.members
    found = client.trace_record(record, shadow=True)
    first, second, third = members(found)
    assert (first.prompt_tokens > 16) == (record is LONG)
    assert first.drafted_s is msgspec.UNSET
    assert second.seconds == RUN_S * second.generated_tokens
    assert second.drafted_s == live[1].seconds < second.seconds / 6
    # The third says something else: what it read of the draft has cost, and spared nothing.
    assert third.text != first.text
    assert third.drafted_s == third.seconds
    assert said(found).seconds == found.total_s == sum(one.seconds for one in members(found))


def test_what_is_said_is_what_each_says_by_itself(make_vote: Callable[..., EdgeClient]) -> None:
    client = make_vote(HALF)
    without = client.ask(RECORD.prompt, shadow=True).said.members
    for one, other in zip(members(client.trace_record(RECORD, shadow=True)), without, strict=True):
        assert (one.text, one.logprobs) == (other.text, other.logprobs)
        assert one.generated_tokens == other.generated_tokens


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_a_query_that_is_recorded_begins_with_all_that_it_is_live(
    make_vote: Callable[..., EdgeClient], runs: list[int], order: tuple[int, ...]
) -> None:
    client = make_vote(UNANIMOUS, order)
    live = client.ask(RECORD.prompt)
    as_live, runs[:] = list(runs), []
    assert len(live.said.members) == len(order)
    client.trace_record(RECORD, shadow=True)
    assert runs[: len(as_live)] == as_live


def test_one_after_the_other_in_one_thread_is_when_each_ends(
    make_vote: Callable[..., EdgeClient],
) -> None:
    client = make_vote(HALF, threads=False)
    live = client.ask(RECORD.prompt).said
    found = client.trace_record(RECORD, shadow=True)
    first, second, third = members(found)
    assert first.drafted_s is msgspec.UNSET
    assert second.seconds == first.seconds + RUN_S * second.generated_tokens
    assert second.drafted_s == live.members[1].seconds == live.seconds
    # It reads a draft in vain, and begins when the second has ended.
    assert third.drafted_s == second.drafted_s + third.seconds - second.seconds
    assert said(found).seconds == found.total_s == third.seconds


def test_what_passes_between_members_passes_live_too(
    make_vote: Callable[..., EdgeClient], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = EnsembleTier._decided

    def slowly(self: EnsembleTier, *of: Any, **how: Any) -> bool:
        clock.at_s += RUN_S / 4
        return decided(self, *of, **how)

    monkeypatch.setattr(EnsembleTier, "_decided", slowly)
    client = make_vote(UNANIMOUS, threads=False)
    live = client.ask(RECORD.prompt).said.members
    recorded = members(client.trace_record(RECORD, shadow=True))
    assert len(live) == len(recorded)
    assert drafted(recorded)[1:] == [one.seconds for one in live][1:]


def test_in_threads_they_answer_twice_and_the_query_takes_the_second_time(
    make_vote: Callable[..., EdgeClient], runs: list[int]
) -> None:
    client = make_vote(HALF, threads=True)
    found = client.trace_record(RECORD, shadow=True)
    assert all(isinstance(one, float) for one in drafted(members(found)))
    alone = sum(one.generated_tokens for one in members(found))
    # Two threads share the clock; what was rehearsed is not in the time of the query.
    assert len(runs) > alone
    assert found.total_s <= RUN_S * alone
    assert [one.text for one in members(found)] == [
        one.text for one in client.ask(RECORD.prompt, shadow=True).said.members
    ]


def test_where_log_probabilities_decide_there_is_one_way_only(
    five: list[Member], clock: VirtualClock, runs: list[int]
) -> None:
    gate = Gate(rule=agreement_named("mean-score"), threshold=HALF)
    cascade = Cascade(tiers=[EnsembleTier(five[:2])], gates=[gate], clock=clock)
    found = EdgeClient(cascade).trace_record(RECORD, shadow=True)
    assert drafted(members(found)) == [msgspec.UNSET] * 2
    assert len(runs) == sum(one.generated_tokens for one in members(found))


def test_the_answer_of_a_query_that_is_not_recorded_comes_once(
    make_vote: Callable[..., EdgeClient], runs: list[int]
) -> None:
    answer = make_vote(HALF).ask(RECORD.prompt, shadow=True)
    assert drafted(answer.said.members) == [msgspec.UNSET] * 3
    assert len(runs) == sum(one.generated_tokens for one in answer.said.members)


def test_the_last_tier_reads_the_draft_of_the_one_below(
    five: list[Member], clock: VirtualClock
) -> None:
    below = five[0]
    above = Member(Artifact.open(five[1].artifact.folder, threads=1))
    gate = Gate(rule=below.artifact.rule, threshold=-1.0)
    tiers = [ArtifactTier(below, name="below"), ArtifactTier(above, name="above")]
    client = EdgeClient(Cascade(tiers=tiers, gates=[gate, None], clock=clock))
    live = client.ask(RECORD.prompt)
    record = client.trace_record(RECORD, shadow=True)
    (one,) = said(record, 1).members
    assert (said(record, 0).members[0].drafted_s, one.seconds) == (
        msgspec.UNSET,
        RUN_S * one.generated_tokens,
    )
    last = live.tiers[1]
    assert last is not None
    assert one.drafted_s == last.seconds < one.seconds
    found = replay(
        Trace(client.trace_header(), [record]), Network(get_profile("free")), (-1.0,), seed=0
    )
    assert found.cascade_s.tolist() == [live.total_s]
    # Asked alone it has no draft.
    assert found.course.last_only_s.tolist() == [one.seconds]


@pytest.mark.parametrize("threads", [None, False])
@pytest.mark.parametrize("order", [(0, 1), (0, 1, 2), (2, 0, 1)])
def test_virtual_time_is_the_time_that_it_takes_live(
    make_vote: Callable[..., EdgeClient], order: tuple[int, ...], threads: bool | None
) -> None:
    client = make_vote(UNANIMOUS, order, threads=threads, above=4)
    live = client.ask(RECORD.prompt)
    assert live.outcome == ("answered" if len(order) == 2 else "deferred")
    trace = Trace(client.trace_header(), [client.trace_record(RECORD, shadow=True)])
    found = replay(trace, Network(get_profile("free")), (UNANIMOUS,), seed=0)
    assert found.cascade_s.tolist() == [live.total_s]
    # Of a trace of before that says nothing of drafts, the members' times by themselves.
    older = msgspec.convert(_without(msgspec.to_builtins(trace.records[0])), TraceRecord)
    found = replay(
        trace._replace(records=[older]), Network(get_profile("free")), (UNANIMOUS,), seed=0
    )
    assert (found.cascade_s[0] > live.total_s) == (order[0] != 2)


def _without(record: Any) -> Any:
    for tier in record["tiers"]:
        for member in tier["members"]:
            member.pop("drafted_s", None)
    return record
