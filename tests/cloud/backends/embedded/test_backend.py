"""The embedded backend's thread, queue and deltas, on a clock of our own."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery
from escalade.cloud.backends.ticket import Ticket, deadline_after
from escalade.cloud.backends.worker.loop_calls import LoopCalls
from escalade.cloud.errors import (
    DeadlineError,
    DrainingError,
    EngineDeadError,
    PromptTooLongError,
    QueueFullError,
)
from escalade.v1 import cascade_pb2 as pb

QUERY = Query((4, 1), 3)
SCORED = ScoreQuery((4, 1), (5, 6))


def forever(clock: Any) -> Ticket:
    return Ticket(math.inf, clock)


async def loaded(engine: Any, clock: Any, capacity: int = 4) -> EmbeddedBackend:
    backend = EmbeddedBackend(lambda: engine, queue_capacity=capacity, clock=clock)
    await backend.load()
    return backend


async def deltas_of(backend: EmbeddedBackend, query: Query, ticket: Ticket) -> list[Delta]:
    return [delta async for delta in backend.generate(query, ticket)]


async def answer_of(backend: EmbeddedBackend, query: Query, ticket: Ticket) -> Answer:
    *_, last = await deltas_of(backend, query, ticket)
    assert last.answer is not None
    return last.answer


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_deadline_that_passes_in_the_queue_is_not_computed(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock)
        held.gate.clear()
        first = asyncio.create_task(answer_of(backend, QUERY, forever(clock)))
        late = asyncio.create_task(
            answer_of(backend, Query((5, 1), 3), Ticket(deadline_after(1.0, clock), clock))
        )
        await asyncio.sleep(0)
        clock.now_s += 5.0
        held.gate.set()
        answer = await first
        with pytest.raises(DeadlineError):
            await late
        assert answer.queue_s + answer.compute_s == 5.0
        backend.close()

    asyncio.run(main())
    assert held.queries == [QUERY]


def test_deadline_that_passes_while_computing_gives_half_an_answer(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock)
        held.gate.clear()
        ticket = Ticket(deadline_after(1.0, clock), clock)
        task = asyncio.create_task(answer_of(backend, QUERY, ticket))
        await until(lambda: bool(held.queries))
        clock.now_s += 1.0
        held.gate.set()
        assert (await task).stop_reason == pb.STOP_REASON_DEADLINE
        backend.close()

    asyncio.run(main())
    assert held.answers[0].token_ids == []


def test_queue_counts_the_one_computed_and_those_that_wait(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock, capacity=2)
        held.gate.clear()
        tickets = [forever(clock) for _ in range(3)]
        tasks = [asyncio.create_task(answer_of(backend, QUERY, ticket)) for ticket in tickets]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="2 requests of a client") as refusal:
            await answer_of(backend, QUERY, forever(clock))
        assert refusal.value.retry_after_s == 0.1
        tickets[2].cancel()
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        fourth = asyncio.create_task(answer_of(backend, QUERY, forever(clock)))
        held.gate.set()
        for task in [*tasks[:2], fourth]:
            assert (await task).token_ids
        backend.close()

    asyncio.run(main())
    assert len(held.queries) == 3


def test_a_text_that_finds_no_place_is_not_tokenized(held: Any, clock: Any) -> None:
    asked = []
    encode = held.inner.encode

    def noting(text: str) -> Sequence[int]:
        asked.append(text)
        return encode(text)

    held.encode = noting

    async def main() -> None:
        backend = await loaded(held, clock, capacity=1)
        with pytest.raises(PromptTooLongError, match=r"prompt\.text: must hold 1\.\.47 tokens"):
            await answer_of(backend, Query((), 3, prompt_text="w01 " * 47), forever(clock))
        held.gate.clear()
        tasks = [asyncio.create_task(answer_of(backend, QUERY, forever(clock))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await answer_of(backend, Query((), 3, prompt_text="w02"), forever(clock))
        held.gate.set()
        await asyncio.gather(*tasks)
        by_text = await answer_of(backend, Query((), 3, prompt_text="w00"), forever(clock))
        assert by_text.token_ids == (await answer_of(backend, QUERY, forever(clock))).token_ids
        assert by_text.prompt_tokens == 2
        backend.close()

    asyncio.run(main())
    assert asked == ["w01 " * 47, "w00"]


def test_a_full_house_of_streams_says_when_one_should_end(held: Any, clock: Any) -> None:
    async def main() -> float:
        backend = await loaded(held, clock, capacity=1)
        async for _ in backend.score([SCORED], 0, forever(clock)):
            clock.now_s += 8.0
        held.gate.clear()
        streams = [backend.score([SCORED], 0, forever(clock)) for _ in range(3)]
        begun = [asyncio.create_task(anext(stream)) for stream in streams[:2]]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="1 streams of scores of a client") as refusal:
            await anext(streams[2])
        held.gate.set()
        await asyncio.gather(*begun)
        for stream in streams:
            await stream.aclose()
        backend.close()
        return refusal.value.retry_after_s

    # Two streams that take turns and last 8 s each: one ends every 4 s.
    assert asyncio.run(main()) == 4.0


def test_engine_loads_and_computes_in_one_thread_of_its_own(engine: Any, clock: Any) -> None:
    seen = []

    class Noting:
        info = engine.info
        encode = engine.encode

        def generate(self, query: Query, should_stop: Any, emit: Any = None) -> Any:
            seen.append(threading.get_ident())
            return engine.generate(query, should_stop, emit)

    def load() -> Any:
        seen.append(threading.get_ident())
        return Noting()

    async def main() -> None:
        backend = EmbeddedBackend(load, queue_capacity=1, clock=clock)
        with pytest.raises(RuntimeError, match="not loaded"):
            _ = backend.info
        await backend.load()
        await answer_of(backend, QUERY, forever(clock))
        backend.close()

    asyncio.run(main())
    assert len(seen) == 2
    assert seen[0] == seen[1] != threading.get_ident()


def test_a_stream_is_the_answer_piece_by_piece(engine: Any, clock: Any) -> None:
    async def main() -> tuple[Answer, list[Delta]]:
        backend = await loaded(engine, clock)
        whole = await deltas_of(backend, Query((4, 1), 8), forever(clock))
        assert [delta.answer is not None for delta in whole] == [True]
        pieces = await deltas_of(backend, Query((4, 1), 8, streamed=True), forever(clock))
        backend.close()
        return whole[0].answer, pieces

    answer, pieces = asyncio.run(main())
    streamed = pieces[-1].answer
    assert (streamed.token_ids, streamed.text) == (answer.token_ids, answer.text)
    assert [delta.answer for delta in pieces[:-1]] == [None] * len(answer.token_ids)
    assert [token for delta in pieces for token in delta.token_ids] == answer.token_ids
    assert [value for delta in pieces for value in delta.logprobs] == answer.logprobs
    assert "".join(delta.text for delta in pieces) == answer.text


def test_an_answer_says_what_it_went_through(engine: Any, clock: Any) -> None:
    async def main() -> tuple[Any, Answer]:
        backend = await loaded(engine, clock, capacity=7)
        answer = await answer_of(backend, QUERY, forever(clock))
        backend.close()
        return backend.info, answer

    info, answer = asyncio.run(main())
    (report,), (tier,) = answer.reports, info.tiers
    assert (report.tier, report.place) == (tier.tier, tier.place) == ("cloud", pb.PLACE_CLOUD)
    (member,), (described,) = report.members, tier.members
    assert described.model == engine.info.model
    # The response names the model in full already.
    assert member.model == pb.ModelIdentity(name="tiny")
    assert member.parameter_count == described.parameter_count == engine.info.parameter_count
    assert (member.prompt_tokens, member.generated_tokens) == (2, 3)
    assert described.prompt_tokens == described.generated_tokens == 0
    assert not report.reason
    assert not report.HasField("score")
    assert not answer.degraded
    assert info.queue_capacity == 7


def test_a_stream_that_fails_says_so(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock)
        for health in (True, True, False):
            held.error = RuntimeError("out of memory")
            with pytest.raises(EngineDeadError, match="failed with RuntimeError"):
                await deltas_of(backend, Query((4, 1), 8, streamed=True), forever(clock))
            assert backend.health() == health
        held.error = None
        await deltas_of(backend, Query((4, 1), 8, streamed=True), forever(clock))
        assert backend.health()
        backend.close()

    asyncio.run(main())


def test_leaving_a_stream_frees_its_place(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock, capacity=1)
        held.stall_at = 2
        ticket = forever(clock)
        task = asyncio.create_task(deltas_of(backend, Query((4, 1), 8, streamed=True), ticket))
        await until(lambda: held.stalled)
        ticket.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: bool(held.answers))
        held.stall_at = None
        tasks = [asyncio.create_task(answer_of(backend, QUERY, forever(clock))) for _ in range(2)]
        for answer in await asyncio.gather(*tasks):
            assert answer.token_ids
        backend.close()

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_CANCELLED


def test_a_batch_whose_ticket_is_cancelled_is_not_scored(held: Any, clock: Any) -> None:
    async def main() -> None:
        backend = await loaded(held, clock)
        ticket = forever(clock)
        ticket.cancel()
        with pytest.raises(DrainingError):
            await anext(backend.score([SCORED], 0, ticket))
        backend.close()

    asyncio.run(main())
    assert not held.batches


def test_calls_from_a_thread_wake_the_loop_once_for_what_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        woken = 0
        loop, made = asyncio.get_running_loop(), list[str]()
        wake = loop.call_soon_threadsafe

        def counting(*args: Any) -> Any:
            nonlocal woken
            woken += 1
            return wake(*args)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
        calls = LoopCalls()
        for letter in "abc":
            calls.add(partial(made.append, letter))
        assert made == []
        await until(lambda: len(made) == 3)
        assert (made, woken) == (["a", "b", "c"], 1)
        thread = threading.Thread(target=calls.add, args=(partial(made.append, "d"),))
        thread.start()
        await until(lambda: len(made) == 4)
        thread.join()
        assert woken == 2

    asyncio.run(main())


def test_no_call_from_a_thread_is_lost() -> None:
    count = 20_000

    async def main() -> list[int]:
        calls, made = LoopCalls(), list[int]()

        def call() -> None:
            for number in range(count):
                calls.add(partial(made.append, number))

        thread = threading.Thread(target=call)
        thread.start()
        await until(lambda: len(made) == count)
        thread.join()
        return made

    assert asyncio.run(main()) == list(range(count))


def test_calls_into_a_loop_that_has_ended_are_nobodys() -> None:
    async def main() -> LoopCalls:
        return LoopCalls()

    asyncio.run(main()).add(partial(print, "late"))
