"""Early deferral in virtual time against the edge's own client, and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scripted import scripted

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.answer import Answer
from escalade.edge.deferral import Gate, rule_named
from escalade.edge.tiers import ArtifactTier, Member, RemoteTier
from escalade.edge.trace import Trace, TraceRecord
from escalade.edge.wire import CloudClient
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course, Replay
from escalade.simulator.replay.setting import Room, Setting
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.tables import answers_tables

WORDS = ("cascade", "ladder", "stair", "climb", "rung", "tier", "gate", "draft", "query", "answer")


def replayed(trace: Trace, tau: float, **setting: Any) -> Replay:
    (course,) = Course.of(
        tiers_of(trace), [Network(get_profile("free"))], seed=0, setting=Setting(**setting)
    )
    return Replay.of(course, [tau])


@pytest.mark.parametrize("rule", ["min", "mean", "sum", "quantile:0.4"])
def test_the_edges_client_stops_where_virtual_time_does(
    rule: str, float_artifact: Path, jumping_clock: Any
) -> None:
    """Recorded whole, then asked with early deferral: as many tokens, of every answer."""
    member = Member(Artifact.open(float_artifact))

    def ask(address: str, tau: float, early: Any) -> tuple[Cascade, list[Answer]]:
        remote = RemoteTier(CloudClient(address, clock=jumping_clock), reader=member)
        tiers = [ArtifactTier(member, name="device"), remote]
        gates = [Gate(rule=rule_named(rule), threshold=tau, early=early), None]
        client = EdgeClient(Cascade(tiers=tiers, gates=gates))
        try:
            return client.cascade, [client.ask(f"g2p: {word}") for word in WORDS]
        finally:
            client.close()

    with scripted() as cloud:
        cascade, whole = ask(cloud.address, -math.inf, "off")
        header = cascade.header_if_known()
        records = [
            TraceRecord(
                id=str(k), task="g2p", prompt=WORDS[k], references=[], tiers=list(answer.tiers),
                answered_by=1, outcome="deferred", total_s=answer.total_s,
            )
            for k, answer in enumerate(whole)
        ]  # fmt: skip
        tiers = tiers_of(Trace(header, records))
        tau = float(np.median(tiers[0].score))
        model = member.artifact.manifest.model
        room = Room(model.max_new_tokens, model.window)
        run = replayed(Trace(header, records), tau, room=room)
        _, early = ask(cloud.address, tau, "certain")
    assert run.spared is not None
    written = [answer.tiers[0].members[0].generated_tokens for answer in early if answer.tiers[0]]
    assert written == (run.course.early.written[0] - run.spared[0]).tolist()  # type: ignore[union-attr]
    assert [answer.answered_by for answer in early] == run.answered_by.tolist()
    assert run.spared[0].any()


def tokens_trace(make_trace: Callable[..., Trace]) -> Trace:
    """Rule `min`: answers of 4 tokens, whose first, second, third or no token is unsure."""
    logprobs = [[-2.0 if n == k else -0.1 for n in range(4)] for k in range(5)]
    made = make_trace(
        [2.0, 2.0, 2.0, 2.0, 0.1], [False] * 5, [True] * 5, threshold=1.0, logprobs=logprobs
    )
    device, cloud = made.header.tiers
    header = replace(made.header, tiers=[replace(device, rule="min"), cloud])
    return Trace(header, [_took(record, k) for k, record in enumerate(made.records)])


def _took(record: TraceRecord, k: int) -> TraceRecord:
    """5 ms, 1 ms for each token read and 3 ms for each written, of which the last answer has 6."""
    answer = record.tiers[0]
    assert answer is not None
    more = [-0.1, -0.1] if k == 4 else []
    (said,) = answer.members
    logprobs = [*said.logprobs, *more]
    seconds = 0.005 + 0.001 * said.prompt_tokens + 0.003 * len(logprobs)
    member = replace(said, logprobs=logprobs, generated_tokens=len(logprobs), seconds=seconds)
    device = replace(answer, members=[member], seconds=seconds)
    return replace(record, tiers=[device, record.tiers[1]], total_s=seconds)


def test_tokens_seconds_and_joules_by_hand(make_trace: Callable[..., Trace]) -> None:
    trace = tokens_trace(make_trace)
    phone = Device(name="phone", resnet18_ms=10, watts=2.0, source="test")
    by_call = Network(Profile(name="p", rtt_ms=0, joules_per_call=1.0, source="test"))
    setting = {"device": Replayed(phone, 3.0)}
    tiers = tiers_of(trace)
    runs = [
        Replay.of(course, [1])
        for room in (None, Room(8))
        for course in Course.of(tiers, [by_call], seed=0, setting=Setting(**setting, room=room))
    ]
    whole, early = runs
    assert early.spared is not None
    assert early.spared.tolist() == [[3, 2, 1, 0, 0], [0] * 5]
    spared_s = 3.0 * 0.003 * early.spared[0]
    np.testing.assert_allclose(early.cascade_s, whole.cascade_s - spared_s)
    np.testing.assert_allclose(early.joules, whole.joules - 2.0 * spared_s)
    assert (early.tokens_saved, whole.tokens_saved) == (pytest.approx(6 / 22), None)
    assert early.answered_by.tolist() == whole.answered_by.tolist()


def test_what_no_tier_above_answers_is_finished(make_trace: Callable[..., Trace]) -> None:
    away = Network(Profile(name="away", rtt_ms=9_000, source="test"))
    setting = Setting(room=Room(8), deadline_s=1.0)
    (course,) = Course.of(tiers_of(tokens_trace(make_trace)), [away], seed=0, setting=setting)
    run = Replay.of(course, [1.0])
    assert run.climb.degraded.tolist() == [True] * 4 + [False]
    assert run.tokens_saved == 0.0


def test_a_simulation_says_what_is_saved(make_trace: Callable[..., Trace]) -> None:
    trace, free = tokens_trace(make_trace), [Network(get_profile("free"))]
    early = run_simulation({"t": trace}, free, [], seed=0, setting=Setting(room=Room(8))).summary
    assert early.points[0].tokens_saved == pytest.approx(6 / 22)
    assert "device tokens saved" in answers_tables(early)[0].head
    plain = run_simulation({"t": trace}, free, [], seed=0).summary
    assert "device tokens saved" not in answers_tables(plain)[0].head


def test_what_cannot_end_early_is_named(
    make_trace: Callable[..., Trace], make_cascade: Callable[..., Trace]
) -> None:
    trace = tokens_trace(make_trace)
    says = "'device' answers query 'q4' in 6 tokens, after 4 of its prompt; got room for 5"
    with pytest.raises(SimulatorError, match=says):
        replayed(trace, 1.0, room=Room(5))
    with pytest.raises(SimulatorError, match="query 'q2' in 4 tokens, after 5 .*; got room for 3"):
        replayed(trace, 1.0, room=Room(9, window=8))
    silent = make_trace([0.5], [True], [True], logprobs=[[]])
    with pytest.raises(SimulatorError, match="1 of 1 answers of tier 'device' have no token log-"):
        replayed(silent, 1.0, room=Room(5))
    device, cloud = trace.header.tiers
    learned = replace(trace.header, tiers=[replace(device, rule="router"), cloud])
    with pytest.raises(SimulatorError, match="needs a rule by name after tier 'device': rule must"):
        replayed(Trace(learned, trace.records), 1.0, room=Room(8))
    with pytest.raises(SimulatorError, match="a tier of one model on the device; got none"):
        replayed(make_cascade([3, 1], 5), 0.5, room=Room(9))
