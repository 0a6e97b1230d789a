"""A stream of scores whose time runs out, in the queue and between batches, by both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import grpc
import pytest

from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.v1 import cascade_pb2 as pb

# 48 tokens: ten make a batch of at most 512.
LONG = ([4], [5 + n % 20 for n in range(47)])
IN_BATCH = 10
BATCHES = 3
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
LATE = grpc.StatusCode.DEADLINE_EXCEEDED

Started = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["alone", "batched"])
def started(request: pytest.FixtureRequest, serving: Any, held: Any, clock: Any) -> Started:
    """`async with started() as running`: with places for one stream and another that waits."""
    if request.param == "alone":
        return partial(serving, held, clock, queue_capacity=1)
    backend = BatchedBackend(lambda: held, queue_capacity=1, clock=clock)
    return partial(serving, None, clock, backend=backend)


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


def test_in_the_queue_it_gives_its_place_to_another(
    started: Started, held: Any, score_request: Any
) -> None:
    request = score_request([LONG] * BATCHES * IN_BATCH)

    async def main() -> int:
        async with started() as running:
            before = len(held.batches)
            held.gate.clear()
            first = running.stub.Score(request)
            await until(lambda: len(held.batches) == before + 1)
            for _ in range(3):
                async with asyncio.timeout(60):
                    # Until the server too has seen that the time of the one before is over.
                    code = FULL
                    while code is FULL:
                        messages, code = await received(running.stub.Score(request, timeout=0.1))
                assert (messages, code) == ([], LATE)
            held.gate.set()
            messages, code = await received(first)
            assert code is grpc.StatusCode.OK
            assert messages[-1].final.items == BATCHES * IN_BATCH
            return len(held.batches) - before

    # What nobody waited for any more was not computed.
    assert asyncio.run(main()) == BATCHES


def test_between_batches_it_ends_with_what_there_is(
    started: Started, held: Any, score_request: Any, clock: Any, refused: Any
) -> None:
    async def main() -> None:
        async with started() as running:
            before = len(held.batches)
            held.gate.clear()
            request = score_request([LONG] * BATCHES * IN_BATCH)
            call = running.stub.Score(request, timeout=60)
            await until(lambda: len(held.batches) == before + 1)
            clock.now_s += 120
            held.gate.set()
            messages = [await call.read() for _ in range(IN_BATCH)]
            assert [message.chunk.item_index for message in messages] == list(range(IN_BATCH))
            refusal = await refused(call.read())
            assert (refusal.code, refusal.reason) == (LATE, "DEADLINE_EXCEEDED")
            assert len(held.batches) == before + 1
            # Both places are free again.
            calls = [received(running.stub.Score(request)) for _ in range(2)]
            for messages, code in await asyncio.gather(*calls):
                assert code is grpc.StatusCode.OK
                assert messages[-1].final.items == BATCHES * IN_BATCH

    asyncio.run(main())
