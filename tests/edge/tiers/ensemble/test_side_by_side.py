"""Members side by side where one of them is held: stopped, paid for, cancelled, failed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from held_runtime import HELD_AFTER, members_of

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.deferral import Gate, Vote
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import Step
from escalade.edge.runtimes.base import ReadsNoDraft
from escalade.edge.tiers import EnsembleTier, Member

PROMPT = "g2p: cascade"


def test_who_can_change_nothing_any_more_is_stopped_and_paid_for(
    five: list[Member], held: Any, client_of: Any
) -> None:
    slow, runtime = held(2)
    run = client_of([five[0], five[1], slow], 0.5).stream(PROMPT)
    next(run)
    assert runtime.arrived.wait(30)  # it has said its first tokens
    answer = run.finish()
    assert answer is not None
    assert (answer.outcome, answer.said.stopped_early) == ("answered", True)
    first, second, stopped = members_of(answer)
    assert first.text == second.text == answer.text
    assert (stopped.member, stopped.text, stopped.correct) == (2, None, None)
    artifact = five[2].artifact
    ids = artifact.encode(PROMPT)
    steps = artifact.generate(ids)
    count = len(stopped.logprobs)
    assert count <= HELD_AFTER
    assert stopped.logprobs == [step.logprob for step in steps[:count]]
    assert (stopped.generated_tokens, stopped.prompt_tokens) == (count, len(ids))


def test_who_leads_alone_may_decide(five: list[Member], held: Any, client_of: Any) -> None:
    # Every vote is deferred at 0: nobody is waited for after the one that streams.
    others = [held(index) for index in (1, 2)]
    answer = client_of([five[0], *(member for member, _ in others)], 0.0).ask(PROMPT)
    assert (answer.outcome, answer.text) == ("deferred", "large answer")
    assert [one.text is None for one in members_of(answer)[1:]] == [True] * (
        len(members_of(answer)) - 1
    )


def test_who_was_stopped_and_is_asked_again_has_cost_twice(
    five: list[Member], held: Any, client_of: Any, scripted_cloud: Any
) -> None:
    scripted_cloud.fails()
    slow, runtime = held(1)
    client = client_of([five[2], slow, five[0]], 0.0)
    run = client.stream(PROMPT)
    next(run)
    assert runtime.arrived.wait(30)  # it has said its first tokens
    answer = run.finish()
    assert answer is not None
    assert (answer.outcome, answer.said.stopped_early) == ("degraded", False)
    _, again, _ = members_of(answer)
    artifact = five[1].artifact
    ids = artifact.encode(PROMPT)
    steps = artifact.generate(ids)
    assert again.text == artifact.text_of(steps)
    assert again.logprobs == [step.logprob for step in steps]
    assert again.generated_tokens == HELD_AFTER + len(steps)
    assert again.prompt_tokens == 2 * len(ids)


def test_who_was_stopped_is_kept_where_nobody_needs_to_ask_again(
    five: list[Member], held: Any, client_of: Any, scripted_cloud: Any
) -> None:
    scripted_cloud.fails()
    slow, runtime = held(2)
    run = client_of([five[0], five[1], slow], 0.0).stream(PROMPT)
    next(run)
    assert runtime.arrived.wait(30)
    answer = run.finish()
    assert answer is not None
    assert answer.outcome == "degraded"
    stopped = members_of(answer)[2]
    assert (stopped.member, stopped.text, stopped.generated_tokens) == (2, None, HELD_AFTER)


def test_the_callers_time_is_nobodys_but_who_worked_meanwhile(
    five: list[Member], held: Any, client_of: Any, jumping_clock: Any
) -> None:
    slow, runtime = held(1)
    run = client_of([five[0], slow, five[2]], 0.5, cloud=False).stream(PROMPT)
    next(run)
    assert runtime.arrived.wait(30)
    jumping_clock.sleep_s(100.0)
    runtime.released.set()
    answer = run.finish()
    assert answer is not None
    lead, beside, *_ = members_of(answer)
    assert 0 <= lead.seconds < 100.0 <= beside.seconds
    assert answer.said.seconds <= answer.total_s < 100.0


def test_a_query_is_cancelled_while_the_last_member_is_waited_for(
    five: list[Member], held: Any, client_of: Any, scripted_cloud: Any
) -> None:
    slow, runtime = held(1)
    # No two of them agree, so that all are waited for.
    client = client_of([five[0], slow, five[2]], 0.9)
    assert client.stream(PROMPT, cancelled=runtime.arrived.is_set).finish() is None
    assert scripted_cloud.asked == []


def test_members_that_all_fail_fail_their_tier(held: Any, client_of: Any) -> None:
    broken = [held(index, fails=True)[0] for index in range(2)]
    answer = client_of(broken, 0.9).ask(PROMPT)
    assert (answer.outcome, answer.tiers[0]) == ("deferred", None)
    assert "tier 'ensemble': no member answered: tiny: model.onnx: out of memory" in answer.reason
    broken = [held(index, fails=True)[0] for index in range(2)]
    with pytest.raises(ArtifactError, match="no member answered: .*out of memory; .*out of memory"):
        client_of(broken, 0.9, cloud=False).ask(PROMPT)


def test_a_run_that_is_let_go_stops_its_members(
    five: list[Member], held: Any, client_of: Any
) -> None:
    slow, runtime = held(1)
    client = client_of([five[0], slow], 0.5)
    run = client.stream(PROMPT)
    next(run)
    assert runtime.arrived.wait(30)
    del run
    gc.collect()
    assert runtime.left.is_set()
    assert client.ask(PROMPT).outcome == "answered"


def test_threads_are_kept_from_query_to_query_and_end_with_the_tier(
    five: list[Member], client_of: Any
) -> None:
    before = set(_threads())
    client = client_of(five[:3], 0.5)
    client.ask(PROMPT)
    there = set(_threads()) - before
    assert there
    client.ask("g2p: other")
    assert there <= set(_threads()) - before
    client.close()
    for one in there:
        one.join(30)
    assert not any(one.is_alive() for one in there)


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("member")]


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_wish_to_cancel_that_passes_leaves_no_half_of_a_vote(
    five: list[Member], client_of: Any, jumping_clock: Any, side_by_side: bool
) -> None:
    tier = EnsembleTier(five[:3], side_by_side=side_by_side)
    gate = Gate(rule=Vote(), threshold=0.5)
    client = EdgeClient(Cascade(tiers=[tier], gates=[gate], clock=jumping_clock))
    whole = client.ask(PROMPT)
    for at in range(0, 90, 7):
        asked: list[None] = []

        def once(asked: list[None] = asked, at: int = at) -> bool:
            asked.append(None)
            return len(asked) == at + 1

        answer = client.stream(PROMPT, cancelled=once).finish()
        assert answer is None or answer.text == whole.text
        if at < 30:
            assert answer is None


class Canned(ReadsNoDraft):
    """A runtime that says one token; the last of several to speak waits to be stopped first."""

    def __init__(self, token_id: int, others: threading.Semaphore, *, waits_for: int = 0) -> None:
        self._token_id, self._others, self._waits_for = token_id, others, waits_for

    def generate(
        self, prompt_ids: Sequence[int], max_new_tokens: int, **options: Any
    ) -> Iterator[Step]:
        yield Step(self._token_id, -0.5, False)
        for _ in range(self._waits_for):
            assert self._others.acquire(timeout=30)
        for _ in range(20 if self._waits_for else 0):
            # The others are done. Who takes the vote for settled has time to stop this one; where
            # it is not, nothing hangs on how long that is.
            if options["cancelled"]():
                return
            threading.Event().wait(0.01)
        self._others.release()
        yield Step(2, -0.5, True)


def test_who_is_heard_last_may_stand_before_others_and_win(
    five: list[Member], make_remote: Any, jumping_clock: Any
) -> None:
    real = five[0].artifact
    x, y, z = (real.encode(letter)[0] for letter in "xyz")
    others = threading.Semaphore(0)
    members = []
    for index, token_id in enumerate((x, z, y, y, y, z, z)):
        runtime = Canned(token_id, others, waits_for=6 if index == 1 else 0)
        model = msgspec.structs.replace(real.manifest.model, revision=str(index))
        manifest = msgspec.structs.replace(real.manifest, model=model)
        members.append(
            Member(
                Artifact(
                    real.folder,
                    manifest,
                    runtime,  # type: ignore[arg-type]
                    real._tokenizer,
                    rule=real.rule,
                )
            )
        )
    tier = EnsembleTier(members, side_by_side=True)
    answer = EdgeClient(Cascade(tiers=[tier], gates=[None], clock=jumping_clock)).ask(PROMPT)
    # Three for y and three for z, of which the second member's came first.
    assert answer.text == real.decode([z])
    assert [one.member for one in answer.said.members] == list(range(7))
