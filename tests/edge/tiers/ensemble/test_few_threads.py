"""Members side by side in fewer threads than there are of them: who waits, begins, answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from held_runtime import HELD_AFTER, finished_beside, members_of

from escalade.edge import Cascade, EdgeClient
from escalade.edge.deferral import Gate, Vote
from escalade.edge.runtimes import Step
from escalade.edge.tiers import EnsembleTier, Member, RemoteTier, Tier

PROMPT = "g2p: cascade"


@pytest.fixture
def two_at_once(
    five: list[Member], make_remote: Callable[..., RemoteTier], jumping_clock: Any
) -> Callable[..., EdgeClient]:
    """A client of three members, two of them at once, and the scripted cloud."""

    def make(members: Sequence[Member], threshold: float) -> EdgeClient:
        tier = EnsembleTier(members, side_by_side=True, at_once=2)
        gates = [Gate(rule=Vote(), threshold=threshold), None]
        tiers: list[Tier] = [tier, make_remote(reader=members[0])]
        return EdgeClient(Cascade(tiers=tiers, gates=gates, clock=jumping_clock))

    return make


def test_no_more_run_at_once_than_may(five: list[Member], held: Any, two_at_once: Any) -> None:
    second, of_second = held(1)
    third, of_third = held(2)
    run = two_at_once([five[0], second, third], 0.5).stream(PROMPT, shadow=True)
    next(run)
    assert of_second.arrived.wait(30)
    assert not of_third.begun.is_set()
    beside = list[bool]()

    def release() -> None:
        # In the place of the first, while the second is held.
        beside.append(of_third.arrived.wait(30))
        of_second.released.set()
        of_third.released.set()

    answer = finished_beside(run, release)
    assert beside == [True]
    assert answer is not None
    assert (answer.outcome, answer.text) == ("answered", answer.said.members[0].text)
    assert of_third.begun.is_set()
    assert answer.said.members[2].text is not None  # all were wanted


def test_nobody_begins_while_those_that_run_may_agree(
    five: list[Member], held: Any, two_at_once: Any
) -> None:
    first, of_first = held(0)
    second, of_second = held(1)
    third, of_third = held(2)
    of_first.released.set()
    run = two_at_once([first, second, third], 0.5).stream(PROMPT)
    next(run)
    assert of_second.arrived.wait(30)

    def release() -> None:
        of_first.ended.wait(30)
        of_second.released.set()

    answer = finished_beside(run, release)
    assert answer is not None
    assert answer.outcome == "answered"
    assert [one.member for one in answer.said.members] == [0, 1]
    assert not of_third.begun.is_set()


def test_who_is_not_needed_when_one_ends_never_begins(
    five: list[Member], held: Any, two_at_once: Any
) -> None:
    second, of_second = held(1)
    third, of_third = held(2)
    run = two_at_once([five[0], second, third], 0.0).stream(PROMPT)
    next(run)
    assert of_second.arrived.wait(30)
    answer = run.finish()  # the first alone says that it is deferred
    assert answer is not None
    assert answer.outcome == "deferred"
    assert [one.member for one in members_of(answer)] == [0, 1]
    assert not of_third.begun.is_set()


def test_where_threads_take_longer_members_answer_in_the_one_that_asks(
    five: list[Member], held: Any, client_of: Any
) -> None:
    second, runtime = held(1)
    runtime.released.set()
    client = client_of([five[0], second, five[2]], 0.9, cloud=False)
    (tier,) = client.cascade.tiers
    whole = client.ask(PROMPT, shadow=True)
    idents = list[int]()
    real = runtime.generate

    def noted(*args: Any, **options: Any) -> Iterator[Step]:
        idents.append(threading.get_ident())
        return real(*args, **options)

    runtime.generate = noted
    for _ in range(6):
        tier._pace.note(1.0, 1, in_threads=False)
        tier._pace.note(2.0, 1, in_threads=True)
    for _ in range(3):
        answer = client.ask(PROMPT, shadow=True)
        assert (answer.text, answer.score) == (whole.text, whole.score)
        for one, other in zip(answer.said.members, whole.said.members, strict=True):
            assert (one.text, one.logprobs) == (other.text, other.logprobs)
            assert one.generated_tokens == other.generated_tokens
    assert set(idents) == {threading.get_ident()}


class Ticking:
    """A clock by which each look at it takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_s(self) -> float:
        self.seconds += 1.0
        return self.seconds

    def sleep_s(self, seconds: float) -> None:
        self.seconds += seconds


def test_in_one_thread_the_last_to_end_is_as_late_as_the_whole_tier(five: list[Member]) -> None:
    tier = EnsembleTier(five[:3], side_by_side=True)
    tier._pace.note(1.0, 1, in_threads=True)  # the next is tried in one
    gate = Gate(rule=Vote(), threshold=None)
    client = EdgeClient(Cascade(tiers=[tier], gates=[gate], clock=Ticking()))
    answer = client.ask(PROMPT)
    seconds = [one.seconds for one in answer.said.members]
    assert seconds == sorted(set(seconds))
    assert seconds[-1] <= answer.said.seconds < sum(seconds)


def test_who_asks_answers_for_one_too_and_is_stopped_where_another_decides(
    five: list[Member], held: Any, two_at_once: Any
) -> None:
    second, of_second = held(2)
    third, of_third = held(1)
    run = two_at_once([five[0], second, third, five[3]], 0.25).stream(PROMPT)
    next(run)
    assert of_second.arrived.wait(30)  # in the one thread there is

    def release() -> None:
        of_third.arrived.wait(30)
        of_second.released.set()

    answer = finished_beside(run, release)
    assert answer is not None
    assert (answer.outcome, answer.text) == ("deferred", "large answer")  # two differ: that is all
    assert of_third.left.is_set()
    assert [one.text is None for one in members_of(answer)] == [False, False, True]
    assert members_of(answer)[2].generated_tokens == HELD_AFTER
