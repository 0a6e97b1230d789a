"""The sharing of computations and answers: who follows, who waits, who leaves."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from escalade.cloud.backends.query import Answer, Delta
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import DeadlineError, DrainingError, EngineDeadError, QueueFullError
from escalade.cloud.rpcs.once.once import SharedAnswers
from escalade.v1 import cascade_pb2 as pb

ANSWER = Answer(
    token_ids=[5, 6, 7],
    logprobs=[-0.5, -1.0, -1.5, -2.0],
    margins=[0.1] * 4,
    end_id=2,
    text="a b c",
    stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
    prompt_tokens=2,
    generated_tokens=4,
)


def named(number: int) -> Delta:
    return Delta(answer=replace(ANSWER, text=str(number)))


def test_failures_are_shared_but_not_kept(clock: Any) -> None:
    computed = 0

    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0)
        if computed == 1:
            raise EngineDeadError("engine: failed")
        yield named(computed)

    async def main() -> None:
        answers = SharedAnswers(8, clock)
        both = [answers.once(b"k", math.inf, compute) for _ in range(2)]
        failures = await asyncio.gather(*both, return_exceptions=True)
        assert [type(failure) for failure in failures] == [EngineDeadError] * 2
        assert (await answers.once(b"k", math.inf, compute)).text == "2"
        assert (await answers.once(b"k", math.inf, compute)).text == "2"

    asyncio.run(main())
    assert computed == 2


def test_joining_a_computation_that_ran_out_of_time_starts_another(clock: Any) -> None:
    tickets = []

    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        tickets.append(ticket)
        await asyncio.sleep(0.001)
        if len(tickets) == 1:
            # The engine saw the first deadline just before the second caller extended it.
            raise DeadlineError("deadline: passed")
        yield Delta(answer=ANSWER)

    async def main() -> None:
        answers = SharedAnswers(8, clock)
        short = asyncio.create_task(answers.once(b"k", clock() + 1, compute))
        await asyncio.sleep(0)
        patient = asyncio.create_task(answers.once(b"k", clock() + 100, compute))
        await asyncio.sleep(0)
        clock.now_s += 2
        with pytest.raises(DeadlineError):
            await short
        assert await patient == ANSWER

    asyncio.run(main())
    assert len(tickets) == 2


def test_last_waiter_leaving_stops_the_computation(clock: Any) -> None:
    tickets = []

    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        tickets.append(ticket)
        await asyncio.Event().wait()
        yield Delta(answer=ANSWER)

    async def main() -> None:
        answers = SharedAnswers(8, clock)
        waiters = [asyncio.create_task(answers.once(b"k", math.inf, compute)) for _ in range(2)]
        while not tickets:
            await asyncio.sleep(0)
        waiters[0].cancel()
        await asyncio.wait([waiters[0]])
        assert tickets[0].should_stop() is None
        waiters[1].cancel()
        await asyncio.wait([waiters[1]])
        assert tickets[0].should_stop() == pb.STOP_REASON_CANCELLED

    asyncio.run(main())
    assert len(tickets) == 1


class Slow:
    """A computation that gives `ANSWER` a step at a time, when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.stopped = 0
        self._steps: asyncio.Queue[Delta] = asyncio.Queue()

    async def compute(self, ticket: Ticket) -> AsyncIterator[Delta]:
        self.begun += 1
        answer = None
        try:
            while answer is None:
                delta = await self._steps.get()
                answer = delta.answer
                yield delta
        finally:
            self.stopped += 1

    async def step(self, *deltas: Delta) -> None:
        for delta in deltas:
            self._steps.put_nowait(delta)
        for _ in range(10):
            await asyncio.sleep(0)


A, B, C = Delta([5], [-0.5], "a"), Delta([6], [-1.0], " b"), Delta([7], [-1.5], " c")
END = Delta(answer=ANSWER)


def test_each_follower_gets_all_of_it_as_fast_as_he_reads(clock: Any) -> None:
    async def main() -> None:
        slow, answers = Slow(), SharedAnswers(8, clock)
        keen = answers.follow(b"k", math.inf, slow.compute)
        first = asyncio.ensure_future(anext(keen))
        await slow.step(A)
        assert await first == A
        late = answers.follow(b"k", math.inf, slow.compute)
        await slow.step(B, C)
        assert await anext(keen) == Delta([6, 7], [-1.0, -1.5], " b c")
        assert await anext(late) == Delta([5, 6, 7], [-0.5, -1.0, -1.5], "a b c")
        await slow.step(END)
        for reader in (keen, late):
            assert [delta async for delta in reader] == [Delta([], [], "", ANSWER)]
        whole = Delta([5, 6, 7], [-0.5, -1.0, -1.5], "a b c", ANSWER)
        assert [d async for d in answers.follow(b"k", math.inf, slow.compute)] == [whole]
        assert await answers.once(b"k", math.inf, slow.compute) == ANSWER
        assert (slow.begun, slow.stopped) == (1, 1)

    asyncio.run(main())


def test_what_the_last_delta_adds_comes_with_the_answer(clock: Any) -> None:
    async def main() -> list[Delta]:
        slow, answers = Slow(), SharedAnswers(8, clock)
        await slow.step(A, END)
        return [delta async for delta in answers.follow(None, math.inf, slow.compute)]

    deltas = asyncio.run(main())
    assert [token for delta in deltas for token in delta.token_ids] == ANSWER.token_ids
    assert "".join(delta.text for delta in deltas) == ANSWER.text
    assert deltas[-1].answer == ANSWER


def test_text_that_has_changed_goes_on_with_what_replaced_it(clock: Any) -> None:
    async def main() -> str:
        slow, answers = Slow(), SharedAnswers(8, clock)
        reader = answers.follow(None, math.inf, slow.compute)
        first = asyncio.ensure_future(anext(reader))
        await slow.step(Delta([5], [-0.5], "a é"))
        given = (await first).text
        await slow.step(Delta(answer=replace(ANSWER, text="a \ufffd\ufffdx")))
        return given + "".join([delta.text async for delta in reader])

    assert asyncio.run(main()) == "a é\ufffd\ufffdx"


def test_a_reader_that_leaves_between_two_pieces_stops_it(clock: Any) -> None:
    async def main() -> None:
        slow, answers = Slow(), SharedAnswers(8, clock)
        reader = answers.follow(b"k", math.inf, slow.compute)
        first = asyncio.ensure_future(anext(reader))
        await slow.step(A)
        await first
        await reader.aclose()
        await slow.step()
        assert slow.stopped == 1
        again = asyncio.create_task(answers.once(b"k", math.inf, slow.compute))
        await slow.step(END)
        assert await again == ANSWER
        assert slow.begun == 2

    asyncio.run(main())


@pytest.mark.parametrize("key", [b"k", None])
def test_who_follows_what_is_abandoned_is_told_of_the_drain(clock: Any, key: Any) -> None:
    async def main() -> None:
        slow, answers = Slow(), SharedAnswers(8, clock)
        both = [asyncio.create_task(answers.once(key, math.inf, slow.compute)) for _ in range(2)]
        await slow.step(A)
        answers.abandon()
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert [type(end) for end in ends] == [DrainingError] * 2
        assert slow.stopped == slow.begun == (1 if key else 2)
        answers.abandon()

    asyncio.run(main())


def test_a_deadline_that_passes_in_the_middle_is_the_readers_own_affair(clock: Any) -> None:
    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        yield A
        await asyncio.sleep(0.001)
        raise DeadlineError("deadline: passed")

    async def main() -> None:
        reader = SharedAnswers(8, clock).follow(b"k", math.inf, compute)
        assert await anext(reader) == A
        with pytest.raises(DeadlineError):
            await anext(reader)

    asyncio.run(main())


def test_a_computation_without_an_answer_is_a_failure(clock: Any) -> None:
    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        yield A

    async def main() -> None:
        with pytest.raises(EngineDeadError, match="ended without an answer"):
            await SharedAnswers(8, clock).once(None, math.inf, compute)

    asyncio.run(main())


def test_what_was_answered_waits_for_no_collector(clock: Any) -> None:
    tickets: list[weakref.ref[Ticket]] = []

    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        tickets.append(weakref.ref(ticket))
        yield A
        await asyncio.sleep(0)
        yield END

    async def main() -> None:
        answers = SharedAnswers(8, clock)
        assert await answers.once(b"k", math.inf, compute) == ANSWER
        assert [delta async for delta in answers.follow(None, math.inf, compute)]
        assert [ticket() for ticket in tickets] == [None, None]

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_what_is_refused_at_once_has_no_task_and_is_forgotten(clock: Any) -> None:
    full = True

    async def compute(ticket: Ticket) -> AsyncIterator[Delta]:
        yield END

    def start(ticket: Ticket) -> AsyncIterator[Delta]:
        if full:
            raise QueueFullError("queue: full", 1.0)
        return compute(ticket)

    async def main() -> None:
        nonlocal full
        answers = SharedAnswers(8, clock)
        for _ in range(2):
            with pytest.raises(QueueFullError):
                await answers.once(b"k", math.inf, start)
            with pytest.raises(QueueFullError):
                await anext(answers.follow(b"k", math.inf, start))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        full = False
        assert await answers.once(b"k", math.inf, start) == ANSWER

    asyncio.run(main())
