"""Queue, deadlines, cancellation, repeated ids, failures and the drain, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from escalade.cloud.service import SERVICE_NAME
from escalade.v1 import cascade_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def query(engine: Any) -> Callable[..., pb.GenerateRequest]:
    """Makes a request in token ids, which the service queues without leaving the loop."""

    def make(text: str, request_id: str = "", max_new_tokens: int = 4) -> pb.GenerateRequest:
        tokens = pb.TokenSequence(
            ids=engine.encode(text), tokenizer_fingerprint=engine.info.model.tokenizer_fingerprint
        )
        return pb.GenerateRequest(
            request_id=request_id,
            prompt=pb.Prompt(tokens=tokens),
            stopping=pb.StoppingOptions(max_new_tokens=max_new_tokens),
        )

    return make


async def until(condition: Callable[[], bool]) -> None:
    """Let the server go on until `condition` holds; a minute without it is a failure."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def health_of(running: Any, service: str = SERVICE_NAME) -> int:
    stub = health_pb2_grpc.HealthStub(running.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


def prompts_of(held: Any) -> list[str]:
    """The first word of each query that reached the engine."""
    return [f"w{query.prompt_ids[0] - 4:02d}" for query in held.queries]


def test_full_queue_refuses_with_a_delay(serving: Any, held: Any, query: Any, refused: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            first = running.stub.Generate(query("w00"))
            await until(lambda: len(held.queries) == 1)
            second = running.stub.Generate(query("w01"))
            await until(lambda: running.queued() == 2)
            refusal = await refused(running.stub.Generate(query("w02")))
            assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert refusal.reason == "QUEUE_FULL"
            assert refusal.retry_delay_s > 0
            held.gate.set()
            assert (await first).token_ids
            assert (await second).token_ids
            assert (await running.stub.Generate(query("w03"))).token_ids

    asyncio.run(main())
    assert prompts_of(held) == ["w00", "w01", "w03"]


def test_pushback_reaches_grpcs_own_retry(serving: Any, held: Any, query: Any) -> None:
    async def main() -> str:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            calls = [running.stub.Generate(query(f"w0{n}")) for n in range(2)]
            await until(lambda: running.queued() == 2)
            third = running.stub.Generate(query("w02"))
            assert await third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            held.gate.set()
            await asyncio.gather(*calls)
            return dict(await third.trailing_metadata())["grpc-retry-pushback-ms"]

    assert int(asyncio.run(main())) >= 1


def test_expired_request_is_not_computed(serving: Any, held: Any, query: Any, clock: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, clock) as running:
            first = running.stub.Generate(query("w00"))
            await until(lambda: len(held.queries) == 1)
            late = running.stub.Generate(query("w01"), timeout=0.05)
            assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            clock.now_s += 1
            held.gate.set()
            await first
            await running.stub.Generate(query("w02"))

    asyncio.run(main())
    assert prompts_of(held) == ["w00", "w02"]


def test_deadline_stops_between_tokens(
    serving: Any, held: Any, query: Any, clock: Any, refused: Any
) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held, clock) as running:
            call = running.stub.Generate(query("w00", max_new_tokens=20), timeout=60)
            await until(lambda: held.stalled)
            clock.now_s += 120
            refusal = await refused(call)
            assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refusal.reason == "DEADLINE_EXCEEDED"

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_DEADLINE
    assert len(held.answers[0].token_ids) == 3


def test_cancel_stops_between_tokens(serving: Any, held: Any, query: Any) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held) as running:
            call = running.stub.Generate(query("w00", max_new_tokens=20))
            await until(lambda: held.stalled)
            call.cancel()
            await until(lambda: bool(held.answers))
            held.stall_at = None
            assert (await running.stub.Generate(query("w01"))).token_ids

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_CANCELLED
    assert len(held.answers[0].token_ids) == 3


def test_cancelled_while_queued_is_not_computed(serving: Any, held: Any, query: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            first = running.stub.Generate(query("w00"))
            await until(lambda: len(held.queries) == 1)
            second = running.stub.Generate(query("w01"))
            await until(lambda: running.queued() == 2)
            full = running.stub.Generate(query("w02"))
            assert await full.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            second.cancel()
            # Its place is free once the server has seen the cancellation.
            async with asyncio.timeout(60):
                while True:
                    third = asyncio.ensure_future(running.stub.Generate(query("w03")).code())
                    if not (await asyncio.wait({third}, timeout=1))[0]:
                        break
            held.gate.set()
            await first
            assert await third is grpc.StatusCode.OK

    asyncio.run(main())
    assert prompts_of(held) == ["w00", "w03"]


def test_repeated_id_is_computed_once(serving: Any, held: Any, query: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held) as running:
            calls = [running.stub.Generate(query("w00", "id-1")) for _ in range(3)]
            await until(lambda: len(held.queries) == 1)
            other = running.stub.Generate(query("w01", "id-2"))
            held.gate.set()
            answers = await asyncio.gather(*calls)
            await other
            again = await running.stub.Generate(query("w00", "id-1"))
            assert all(answer == again for answer in answers)
            # No id, no sharing; and an id used for another prompt never gets this answer.
            await running.stub.Generate(query("w00"))
            mixed = await running.stub.Generate(query("w02", "id-1"))
            assert mixed.token_ids != again.token_ids

    asyncio.run(main())
    assert prompts_of(held) == ["w00", "w01", "w00", "w02"]


def test_answers_are_kept_up_to_a_bound(serving: Any, held: Any, query: Any) -> None:
    async def main() -> None:
        async with serving(held, answers_kept=2) as running:
            for text, request_id in [("w00", "a"), ("w01", "b"), ("w00", "a"), ("w02", "c")]:
                await running.stub.Generate(query(text, request_id))
            await running.stub.Generate(query("w00", "a"))
            await running.stub.Generate(query("w01", "b"))

    asyncio.run(main())
    assert prompts_of(held) == ["w00", "w01", "w02", "w01"]


def test_one_waiter_leaving_does_not_stop_the_other(serving: Any, held: Any, query: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            staying = running.stub.Generate(query("w00", "id-1"))
            await until(lambda: len(held.queries) == 1)
            leaving = running.stub.Generate(query("w00", "id-1"), timeout=0.2)
            assert await leaving.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            held.gate.set()
            assert len((await staying).token_ids) == 4

    asyncio.run(main())
    assert prompts_of(held) == ["w00"]


def test_failed_engine_is_unavailable_and_comes_back(
    serving: Any, held: Any, query: Any, refused: Any
) -> None:
    async def main() -> None:
        async with serving(held) as running:
            held.error = RuntimeError("out of memory")
            for count in range(3):
                assert await health_of(running) == SERVING, f"after {count} failures"
                refusal = await refused(running.stub.Generate(query("w00", "id-1")))
                assert refusal.code is grpc.StatusCode.UNAVAILABLE
                assert refusal.reason == "ENGINE_DEAD"
                assert "out of memory" not in refusal.message, "internals leaked"
            assert await health_of(running) == NOT_SERVING
            held.error = None
            assert (await running.stub.Generate(query("w00", "id-1"))).token_ids
            assert await health_of(running) == SERVING

    asyncio.run(main())


def test_drain_finishes_what_was_taken(serving: Any, held: Any, query: Any, refused: Any) -> None:
    async def main() -> None:
        async with serving(held) as running:
            assert await health_of(running) == SERVING
            known = await running.stub.Generate(query("w03", "id-0"))
            held.gate.clear()
            first = running.stub.Generate(query("w00"))
            await until(lambda: len(held.queries) == 2)
            second = running.stub.Generate(query("w01", "id-1"))
            await until(lambda: running.queued() == 3)
            await drain_begins(running)
            assert await health_of(running) == NOT_SERVING
            refusal = await refused(running.stub.Generate(query("w02")))
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.reason == "DRAINING"
            # A repeated id is no new request.
            assert await running.stub.Generate(query("w03", "id-0")) == known
            held.gate.set()
            assert len((await first).token_ids) == 4
            assert len((await second).token_ids) == 4
            await running.task

    asyncio.run(main())
    assert prompts_of(held) == ["w03", "w00", "w01"]


def test_drain_past_its_grace_stops_the_rest(
    serving: Any, held: Any, query: Any, refused: Any
) -> None:
    async def main() -> None:
        held.stall_at = 2
        async with serving(held, grace_s=0) as running:
            first = running.stub.Generate(query("w00"))
            await until(lambda: held.stalled)
            second = running.stub.Generate(query("w01"))
            await until(lambda: running.queued() == 2)
            running.stop.set()
            for call in (first, second):
                refusal = await refused(call)
                assert refusal.code is grpc.StatusCode.UNAVAILABLE
                assert refusal.reason == "DRAINING"
            await running.task

    asyncio.run(main())
    assert prompts_of(held) == ["w00"]


@pytest.mark.parametrize("service", ["", SERVICE_NAME])
def test_health_is_told_for_server_and_service(serving: Any, engine: Any, service: str) -> None:
    async def main() -> int:
        async with serving(engine) as running:
            return await health_of(running, service)

    assert asyncio.run(main()) == SERVING


async def drain_begins(running: Any) -> None:
    """Ask for the drain and wait until a health watch has seen it."""
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(
        health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    )
    assert (await watch.read()).status == SERVING
    running.stop.set()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()
