"""A stream of scores shares the engine: fairness, back-pressure, cancellation, the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.ticket import Ticket, deadline_after
from escalade.cloud.errors import DrainingError
from escalade.cloud.rpcs.scoring import score_queries, send_scores
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING

# 48 tokens: ten make a batch of at most 512; the answer is 12 KiB at top_k = 32.
LONG = ([4], [5 + n % 20 for n in range(47)])
IN_BATCH = 10

# Else the transport widens its window as it learns how fast the line is, to some MiB here.
NARROW = [("grpc.http2.bdp_probe", 0)]


async def until(condition: Callable[[], bool]) -> None:
    """Let the server go on until `condition` holds; a minute without it is a failure."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def received(call: Any) -> tuple[list[pb.ScoreResponse], grpc.StatusCode]:
    """Whatever comes until the stream ends, and how it ends."""
    messages = []
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            messages.append(message)
    except grpc.aio.AioRpcError:
        pass
    return messages, await call.code()


def generate(stub: Any) -> Any:
    return stub.Generate(
        pb.GenerateRequest(
            prompt=pb.Prompt(text="w01"), stopping=pb.StoppingOptions(max_new_tokens=2)
        )
    )


def test_a_query_goes_before_the_next_batch(serving: Any, held: Any, score_request: Any) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held) as running:
            request = score_request([LONG] * 20 * IN_BATCH)
            streams = [asyncio.create_task(received(running.stub.Score(request))) for _ in "ab"]
            await until(lambda: len(held.batches) == 1)
            answer = asyncio.ensure_future(generate(running.stub))
            await until(lambda: running.queued() == 1)
            held.gate.set()
            assert (await answer).token_ids
            assert not any(stream.done() for stream in streams)
            for messages, code in await asyncio.gather(*streams):
                assert code is grpc.StatusCode.OK
                assert messages[-1].final.items == 20 * IN_BATCH

    asyncio.run(main())
    assert held.order[:3] == ["score", "generate", "score"]
    assert held.order.count("score") == 40


def test_a_slow_reader_holds_the_work_back(serving: Any, held: Any, score_request: Any) -> None:
    async def main() -> int:
        async with (
            serving(held) as running,
            grpc.aio.insecure_channel(running.address, options=NARROW) as channel,
        ):
            stub = pb_grpc.CascadeServiceStub(channel)
            call = stub.Score(score_request([LONG] * 20 * IN_BATCH, top_k=32))
            await call.read()
            # Each of these gives a stream that is free to go on a turn of its own.
            for _ in range(30):
                await generate(running.stub)
            ahead = len(held.batches)
            messages, _ = await received(call)
            assert messages[-1].final.items == 20 * IN_BATCH
            return ahead

    assert asyncio.run(main()) <= 3
    assert len(held.batches) == 20


def test_a_cancelled_stream_frees_its_place_and_the_engine(
    serving: Any, held: Any, score_request: Any
) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            request = score_request([LONG] * 20 * IN_BATCH)
            first = running.stub.Score(request)
            await until(lambda: len(held.batches) == 1)
            second = running.stub.Score(request)
            _, code = await received(running.stub.Score(request))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            first.cancel()
            # Its place is free once the server has seen the cancellation.
            async with asyncio.timeout(60):
                while (await received(running.stub.Score(request, timeout=0.05)))[1] is (
                    grpc.StatusCode.RESOURCE_EXHAUSTED
                ):
                    pass
            held.gate.set()
            assert (await generate(running.stub)).token_ids
            messages, _ = await received(second)
            assert messages[-1].final.items == 20 * IN_BATCH

    asyncio.run(main())
    # The first one's only batch, and the second's.
    assert len(held.batches) == 1 + 20


@pytest.mark.parametrize("leave", ["cancel", "hang up"])
def test_a_reader_that_leaves_a_full_pipe_is_no_error(
    serving: Any, held: Any, score_request: Any, caplog: pytest.LogCaptureFixture, leave: str
) -> None:
    async def main() -> None:
        async with serving(held, queue_capacity=1) as running:
            for _ in range(3):
                async with grpc.aio.insecure_channel(running.address, options=NARROW) as channel:
                    request = score_request([LONG] * 20 * IN_BATCH, top_k=32)
                    call = pb_grpc.CascadeServiceStub(channel).Score(request)
                    await call.read()
                    # Turns enough to fill the pipe, and for the server to wait for the reader.
                    for _ in range(10):
                        await generate(running.stub)
                    if leave == "cancel":
                        call.cancel()
            messages, code = await received(running.stub.Score(score_request([LONG])))
            assert code is grpc.StatusCode.OK
            assert messages[-1].final.items == 1

    asyncio.run(main())
    assert [record.message for record in caplog.records] == []


def test_a_drain_ends_the_stream_after_its_batch(
    serving: Any, held: Any, score_request: Any, refused: Any
) -> None:
    async def main() -> None:
        async with serving(held) as running:
            held.gate.clear()
            call = running.stub.Score(score_request([LONG] * 20 * IN_BATCH))
            await until(lambda: len(held.batches) == 1)
            running.stop.set()
            health = health_pb2_grpc.HealthStub(running.channel)
            while (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING:
                await asyncio.sleep(0.001)
            late = await refused(running.stub.Score(score_request([LONG])).read())
            assert late.reason == "DRAINING"
            held.gate.set()
            messages, code = await received(call)
            assert code is grpc.StatusCode.UNAVAILABLE
            assert [message.chunk.item_index for message in messages] == list(range(IN_BATCH))
            await running.task

    asyncio.run(main())
    assert len(held.batches) == 1


def test_a_drain_ends_a_stream_that_waits_for_its_turn(
    held: Any, score_request: Any, clock: Any
) -> None:
    sent: list[pb.ScoreResponse] = []

    async def send(response: pb.ScoreResponse) -> None:
        sent.append(response)

    async def main() -> None:
        backend = EmbeddedBackend(lambda: held, queue_capacity=1, clock=clock)
        await backend.load()
        held.gate.clear()
        request = score_request([LONG] * 2 * IN_BATCH)
        tickets = [Ticket(deadline_after(None, clock), clock) for _ in range(2)]
        streams = [
            asyncio.create_task(
                send_scores(
                    request,
                    backend.score(score_queries(request, backend.info), 0, ticket),
                    backend.info,
                    send=send,
                )
            )
            for ticket in tickets
        ]
        # Both step together: when one has its batch in the engine, the other waits for it.
        await until(lambda: len(held.batches) == 1)
        for ticket in tickets:
            ticket.cancel()
        held.gate.set()
        ends = await asyncio.gather(*streams, return_exceptions=True)
        assert [type(end) for end in ends] == [DrainingError] * 2
        backend.close()

    asyncio.run(main())
    assert len(held.batches) == 1
    assert [message.chunk.item_index for message in sent] == list(range(IN_BATCH))


def test_a_drain_does_not_wait_for_a_reader_for_ever(
    serving: Any, held: Any, score_request: Any
) -> None:
    async def main() -> None:
        async with (
            serving(held, grace_s=0) as running,
            grpc.aio.insecure_channel(running.address, options=NARROW) as channel,
        ):
            request = score_request([LONG] * 20 * IN_BATCH, top_k=32)
            call = pb_grpc.CascadeServiceStub(channel).Score(request)
            await call.read()
            for _ in range(10):
                await generate(running.stub)
            running.stop.set()
            await running.task
            _, code = await received(call)
            assert code is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_a_failed_engine_is_unavailable(
    serving: Any, held: Any, score_request: Any, refused: Any
) -> None:
    async def main() -> None:
        async with serving(held) as running:
            held.error = RuntimeError("out of memory")
            refusal = await refused(running.stub.Score(score_request([LONG])).read())
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.reason == "ENGINE_DEAD"
            assert "out of memory" not in refusal.message, "internals leaked"
            held.error = None
            assert (await running.stub.Score(score_request([LONG])).read()).chunk.item_id

    asyncio.run(main())
