"""A vote in which a member fails, hangs or gives NaN: it goes on, says so, and is replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from escalade.edge import Answer, Artifact, Cascade, EdgeClient
from escalade.edge.base import Record
from escalade.edge.deferral import Gate, agreement_named
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import Step
from escalade.edge.runtimes.base import ReadsNoDraft
from escalade.edge.shadow import record_trace
from escalade.edge.tiers import EnsembleTier, Member, RemoteTier, Tier
from escalade.edge.trace import MemberAnswer, read_trace, voices_of, weights_of
from escalade.simulator.recorded import tiers_of

PROMPT = "g2p: cascade"


class Faulty(ReadsNoDraft):
    """A runtime of which something goes wrong after its first token.

    One that hangs does so when `others` have said all: the clock jumps for everybody.
    """

    def __init__(self, real: Any, fault: str, clock: Any, others: Event) -> None:
        self._real, self._fault, self._clock, self._others = real, fault, clock, others

    def generate(
        self, prompt_ids: Sequence[int], max_new_tokens: int, **options: Any
    ) -> Iterator[Step]:
        for index, step in enumerate(self._real.generate(prompt_ids, max_new_tokens, **options)):
            if index == 1 and self._fault == "fails":
                raise ArtifactError("model.onnx: out of memory")
            if index == 1 and self._fault == "hangs":
                self._others.wait()
                self._clock.sleep_s(60.0)
            yield replace(step, logprob=math.nan) if self._fault == "nan" else step


class Telling(ReadsNoDraft):
    """A runtime that tells when it has said all."""

    def __init__(self, real: Any, said: Event) -> None:
        self._real, self._said = real, said

    def generate(self, *args: Any, **options: Any) -> Iterator[Step]:
        try:
            yield from self._real.generate(*args, **options)
        finally:
            self._said.set()


def running(member: Member, runtime: Any) -> Member:
    real = member.artifact
    return Member(Artifact(real.folder, real.manifest, runtime, real._tokenizer, rule=real.rule))


@pytest.fixture
def faulty(five: list[Member], jumping_clock: Any) -> Callable[..., Member]:
    def make(index: int, fault: str, others: Event | None = None) -> Member:
        if others is None:
            others = Event()
            others.set()
        return running(
            five[index], Faulty(five[index].artifact._runtime, fault, jumping_clock, others)
        )

    return make


@pytest.fixture
def client_of(make_remote: Callable[..., RemoteTier], jumping_clock: Any) -> Any:
    def make(
        members: Sequence[Member], threshold: float | None, *, cloud: bool = True, **options: Any
    ) -> EdgeClient:
        rule = agreement_named(options.pop("rule", "vote"))
        tiers: list[Tier] = [EnsembleTier(members, member_deadline_s=10.0, **options)]
        gates: list[Gate | None] = [Gate(rule=rule, threshold=threshold)]
        if cloud:
            tiers.append(make_remote(reader=members[0]))
            gates.append(None)
        return EdgeClient(Cascade(tiers=tiers, gates=gates, clock=jumping_clock))

    return make


FAULTS = {
    "fails": "model.onnx: out of memory",
    "hangs": "no answer after 10 s",
    "nan": "gave a log-probability that is no number",
}


def members_of(answer: Answer) -> list[MemberAnswer]:
    assert answer.tiers[0] is not None
    return answer.tiers[0].members


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("fault", ["fails", "nan"])
def test_the_vote_goes_on_and_says_so(
    five: list[Member],
    faulty: Any,
    client_of: Any,
    fault: str,
    place: int,
    side_by_side: bool,
) -> None:
    members = [five[0], five[1]]
    members.insert(place, faulty(2, fault))
    client = client_of(members, 0.5, side_by_side=side_by_side)
    answer = client.ask(PROMPT, shadow=True)
    right = five[0].artifact.text_of(five[0].artifact.generate(five[0].artifact.encode(PROMPT)))
    assert (answer.outcome, answer.text) == ("answered", right)
    assert answer.score == 1 / 3  # it agrees with nobody
    said = members_of(answer)
    assert [one.failed is not msgspec.UNSET for one in said] == [k == place for k in range(3)]
    broken = said[place]
    assert (broken.text, broken.failed) == (None, FAULTS[fault])
    assert broken.prompt_tokens > 0  # what it did is paid for
    assert broken.generated_tokens == len(broken.logprobs) > 0
    assert not answer.said.stopped_early
    # Two of three are enough for half, whoever fails: and all that is heard is in the trace.
    early = client.ask(PROMPT)
    assert (early.outcome, early.text) == ("answered", right)
    strict = client_of(members, 1 / 3, side_by_side=side_by_side).ask(PROMPT)
    assert strict.outcome == "deferred"


@pytest.mark.parametrize("fault", ["fails", "hangs", "nan"])
@pytest.mark.parametrize("rule", ["vote", "vote:words", "mean-score", "similarity:edit"])
def test_a_replay_counts_it_as_the_device_did(
    five: list[Member], faulty: Any, client_of: Any, tmp_path: Path, rule: str, fault: str
) -> None:
    members = [five[2], faulty(1, fault), five[0]]
    client, out = client_of(members, None, cloud=False, rule=rule), tmp_path / "trace.jsonl"
    record_trace(client, [Record(id="1", task="g2p", prompt=PROMPT, references=["x"])], out)
    trace = read_trace(out)
    (info,), (told,) = trace.header.tiers, trace.records[0].tiers
    assert told is not None
    assert (info.rule, told.members[1].failed) == (rule, FAULTS[fault])
    voices = voices_of(told, info)
    assert voices is not None
    assert [one.text is None for one in voices] == [False, True, False]
    outcome = agreement_named(rule).outcome(voices, weights_of(info))
    assert (told.members[outcome.winner].text, outcome.score) == (told.text, told.score)
    assert outcome.score >= 1 / 3
    assert tiers_of(trace)[0].score.tolist() == [outcome.score]


@pytest.mark.parametrize("fault", ["fails", "hangs", "nan"])
def test_one_that_is_left_answers_alone(
    five: list[Member], faulty: Any, client_of: Any, scripted_cloud: Any, fault: str
) -> None:
    members = [faulty(0, fault), faulty(1, fault), five[2]]
    answer = client_of(members, None, cloud=False).ask(PROMPT)
    alone = five[2].artifact
    assert answer.text == alone.text_of(alone.generate(alone.encode(PROMPT)))
    assert answer.score == 2 / 3
    # Nothing is decided before somebody has spoken, even where everything is deferred.
    deferred = client_of(members, 0.0).ask(PROMPT)
    assert deferred.outcome == "deferred"
    assert len(members_of(deferred)) == 3
    # A cloud that is silent leaves its answer.
    scripted_cloud.fails()
    degraded = client_of(members, 0.0).ask(PROMPT)
    assert (degraded.outcome, degraded.text) == ("degraded", answer.text)


def test_a_member_that_hangs_side_by_side_is_given_up(
    five: list[Member], faulty: Any, client_of: Any
) -> None:
    said = Event()
    members = [running(five[0], Telling(five[0].artifact._runtime, said))]
    members.append(faulty(2, "hangs", said))
    answer = client_of(members, 0.9, cloud=False, side_by_side=True).ask(PROMPT, shadow=True)
    assert members_of(answer)[1].failed == FAULTS["hangs"]
