"""Streams that nobody reads: their places are shared at once, and free after a stated time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Places, Query, Ticket
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

# 48 tokens: ten make a batch of at most 512; the answer is 12 KiB at top_k = 32.
LONG = ([4], [5 + n % 20 for n in range(47)])
# Else the transport widens its window as it learns how fast the line is, to some MiB here; and each
# channel is a connection of its own.
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]

GRACE_S = 60.0


async def idle(stack: AsyncExitStack, address: str) -> Any:
    """A stub whose streams are read only when a test does."""
    channel = grpc.aio.insecure_channel(address, options=NARROW)
    return pb_grpc.CascadeServiceStub(await stack.enter_async_context(channel))


async def rest_of(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError:
        pass
    return await call.code(), await call.details()


async def until_served(stub: Any, request: pb.ScoreRequest) -> int:
    """Ask until there are scores; gives how often there was no place."""
    refused = 0
    async with asyncio.timeout(60):
        while True:
            code, _ = await rest_of(stub.Score(request))
            if code is grpc.StatusCode.OK:
                return refused
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            refused += 1
            await asyncio.sleep(0.01)


def test_another_client_finds_a_place_beside_who_has_many(
    serving: Any, held: Any, score_request: Any
) -> None:
    async def main() -> None:
        async with serving(held, queue_capacity=3) as running, AsyncExitStack() as stack:
            many = await idle(stack, running.address)
            request = score_request([LONG] * 200, top_k=32)
            calls = [many.Score(request) for _ in range(4)]
            for call in calls:
                await call.read()
            code, details = await rest_of(many.Score(request))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert details.endswith("what is left is for clients with fewer")
            assert await until_served(running.stub, score_request([LONG])) == 0
            ends = await asyncio.gather(*map(rest_of, calls))
            assert [code.name for code, _ in ends] == ["OK"] * 4

    asyncio.run(main())


def test_a_place_is_free_when_its_scores_have_not_been_read_for_a_time(
    serving: Any, held: Any, score_request: Any
) -> None:
    async def main() -> None:
        async with (
            serving(held, queue_capacity=1, unread_s=0.3) as running,
            AsyncExitStack() as stack,
        ):
            request = score_request([LONG] * 200, top_k=32)
            calls = [(await idle(stack, running.address)).Score(request) for _ in range(3)]
            for call in calls:
                await call.read()
            # All have as many, and of their host's places none is left.
            assert await until_served(running.stub, score_request([LONG])) > 0
            # One of them made room; the other may be read in time yet.
            ends = await asyncio.gather(*map(rest_of, calls))
            late = "stream: not read for 0.3 s, after which its place goes to another"
            assert (grpc.StatusCode.DEADLINE_EXCEEDED, late) in ends

    asyncio.run(main())


class Talking(Backend):
    """Says a megabyte, and holds its place while it does."""

    def __init__(self, info: BackendInfo) -> None:
        self._info = info
        self.places = Places(1, "requests")

    async def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def info(self) -> BackendInfo:
        return self._info

    def health(self) -> bool:
        return True

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        with self.places.take(ticket):
            for _ in range(8):
                yield Delta(text="x" * 131_072)
        yield Delta(
            answer=Answer(
                token_ids=(),
                logprobs=(),
                margins=(),
                end_id=None,
                text="x" * (1 << 20),
                stop_reason=pb.STOP_REASON_MAX_TOKENS,
                prompt_tokens=1,
                generated_tokens=1,
            )
        )


@pytest.mark.parametrize("read", [False, True])
def test_a_streamed_answer_holds_no_place_while_it_is_not_read(
    serving: Any, held: Any, read: bool
) -> None:
    capabilities = (pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM)
    backend = Talking(dataclasses.replace(held.info, capabilities=capabilities))
    request = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
    request.prompt.tokens.ids.append(4)
    request.prompt.tokens.tokenizer_fingerprint = held.info.model.tokenizer_fingerprint

    async def main() -> None:
        async with (
            serving(backend=backend, grace_s=GRACE_S, unread_s=60.0 if read else 0.3) as running,
            AsyncExitStack() as stack,
        ):
            stub = await idle(stack, running.address)
            calls = [
                stub.GenerateStream(pb.GenerateStreamRequest(request=request)) for _ in range(4)
            ]
            for call in calls:
                await call.read()
            assert (await running.stub.Generate(request)).text
            if read:
                for code, _ in await asyncio.gather(*map(rest_of, calls)):
                    assert code is grpc.StatusCode.OK
            else:
                # A drain waits for them no longer than it is stated.
                running.stop.set()
                async with asyncio.timeout(GRACE_S / 2):
                    await running.task

    asyncio.run(main())
