"""The worker's thread, queue and tickets, and the sharing of answers, on a clock of our own."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from escalade.cloud.backends.engine import Query
from escalade.cloud.backends.worker import Ticket, Worker, deadline_after
from escalade.cloud.errors import DeadlineError, DrainingError, QueueFullError
from escalade.cloud.rpcs.once import Answers
from escalade.v1 import cascade_pb2 as pb

QUERY = Query((4, 1), 3)


def forever(clock: Any) -> Ticket:
    return Ticket(math.inf, clock)


def test_ticket_stops_at_its_deadline_or_when_cancelled(clock: Any) -> None:
    ticket = Ticket(deadline_after(2.0, clock), clock)
    assert ticket.should_stop() is None
    clock.now_s += 2.0
    assert ticket.should_stop() == pb.STOP_REASON_DEADLINE
    ticket.extend(deadline_after(1.0, clock))
    assert ticket.should_stop() is None
    ticket.extend(0.0)
    assert ticket.should_stop() is None
    ticket.cancel()
    assert ticket.should_stop() == pb.STOP_REASON_CANCELLED
    assert deadline_after(None, clock) == math.inf


def test_deadline_that_passes_in_the_queue_is_not_computed(held: Any, clock: Any) -> None:
    async def main() -> None:
        worker = Worker(4, clock)
        await worker.load(lambda: held)
        held.gate.clear()
        first = asyncio.create_task(worker.run(QUERY, forever(clock)))
        late = asyncio.create_task(
            worker.run(Query((5, 1), 3), Ticket(deadline_after(1.0, clock), clock))
        )
        await asyncio.sleep(0)
        clock.now_s += 5.0
        held.gate.set()
        finished = await first
        with pytest.raises(DeadlineError):
            await late
        assert finished.queue_s + finished.compute_s == 5.0
        worker.close()

    asyncio.run(main())
    assert held.queries == [QUERY]


def test_deadline_that_passes_while_computing_gives_no_half_answer(held: Any, clock: Any) -> None:
    async def main() -> None:
        worker = Worker(4, clock)
        await worker.load(lambda: held)
        held.gate.clear()
        ticket = Ticket(deadline_after(1.0, clock), clock)
        task = asyncio.create_task(worker.run(QUERY, ticket))
        while not held.queries:
            await asyncio.sleep(0.001)
        clock.now_s += 1.0
        held.gate.set()
        with pytest.raises(DeadlineError):
            await task
        worker.close()

    asyncio.run(main())
    assert held.answers[0].token_ids == []


def test_queue_counts_the_one_computed_and_those_that_wait(held: Any, clock: Any) -> None:
    async def main() -> None:
        worker = Worker(2, clock)
        await worker.load(lambda: held)
        held.gate.clear()
        tasks = [asyncio.create_task(worker.run(QUERY, forever(clock))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as refusal:
            await worker.run(QUERY, forever(clock))
        assert refusal.value.retry_after_s == 0.1
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        worker.refuse_when_full()
        worker.abandon()
        held.gate.set()
        with pytest.raises(DrainingError):
            await worker.run(QUERY, forever(clock))
        for task in tasks[:2]:
            with pytest.raises(DrainingError):
                await task
        worker.close()

    asyncio.run(main())


def test_a_full_house_of_streams_says_when_one_should_end(clock: Any) -> None:
    worker = Worker(1, clock)
    with worker.score_place():
        clock.now_s += 8.0
    with (
        worker.score_place(),
        worker.score_place(),
        pytest.raises(QueueFullError, match="1 streams of scores wait already") as refusal,
        worker.score_place(),
    ):
        pass
    # Two streams that take turns and last 8 s each: one ends every 4 s.
    assert refusal.value.retry_after_s == 4.0
    worker.close()


def test_engine_loads_and_computes_in_one_thread_of_its_own(engine: Any, clock: Any) -> None:
    seen = []

    class Noting:
        info = engine.info
        encode = engine.encode

        def generate(self, query: Query, should_stop: Any) -> Any:
            seen.append(threading.get_ident())
            return engine.generate(query, should_stop)

    def load() -> Any:
        seen.append(threading.get_ident())
        return Noting()

    async def main() -> None:
        worker = Worker(1, clock)
        with pytest.raises(RuntimeError, match="not loaded"):
            _ = worker.engine
        await worker.load(load)
        await worker.run(QUERY, forever(clock))
        worker.close()

    asyncio.run(main())
    assert len(seen) == 2
    assert seen[0] == seen[1] != threading.get_ident()


def test_failures_are_shared_but_not_kept(clock: Any) -> None:
    computed = 0

    async def compute(ticket: Ticket) -> pb.GenerateResponse:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0)
        if computed == 1:
            raise DrainingError("server: shutting down")
        return pb.GenerateResponse(request_id=str(computed))

    async def main() -> None:
        answers = Answers(8, clock)
        both = [answers.once(b"k", math.inf, compute) for _ in range(2)]
        failures = await asyncio.gather(*both, return_exceptions=True)
        assert [type(failure) for failure in failures] == [DrainingError] * 2
        assert (await answers.once(b"k", math.inf, compute)).request_id == "2"
        assert (await answers.once(b"k", math.inf, compute)).request_id == "2"

    asyncio.run(main())
    assert computed == 2


def test_joining_a_computation_that_ran_out_of_time_starts_another(clock: Any) -> None:
    tickets = []

    async def compute(ticket: Ticket) -> pb.GenerateResponse:
        tickets.append(ticket)
        await asyncio.sleep(0.001)
        if len(tickets) == 1:
            # The engine saw the first deadline just before the second caller extended it.
            raise DeadlineError("deadline: passed")
        return pb.GenerateResponse(request_id="whole")

    async def main() -> None:
        answers = Answers(8, clock)
        short = asyncio.create_task(answers.once(b"k", clock() + 1, compute))
        await asyncio.sleep(0)
        patient = asyncio.create_task(answers.once(b"k", clock() + 100, compute))
        await asyncio.sleep(0)
        clock.now_s += 2
        with pytest.raises(DeadlineError):
            await short
        assert (await patient).request_id == "whole"

    asyncio.run(main())
    assert len(tickets) == 2


def test_last_waiter_leaving_stops_the_computation(clock: Any) -> None:
    tickets = []

    async def compute(ticket: Ticket) -> pb.GenerateResponse:
        tickets.append(ticket)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def main() -> None:
        answers = Answers(8, clock)
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
