"""What `framework.py` asks: our server on a backend that computes nothing, and a bare one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import grpc
import grpc.aio

from escalade.cloud.backends import (
    Answer,
    Backend,
    BackendInfo,
    Claim,
    Delta,
    Places,
    Query,
    Ticket,
)
from escalade.cloud.server import ServeOptions, serve
from escalade.v1 import cascade_pb2 as pb

SERVICE = "escalade.v1.CascadeService"
TOKENS = 64
FINGERPRINT = "f" * 64
# Between tokens of a stream: 64 streams are to give more tokens a second than either server can
# send. Where ours is slower than its backend, several go in one message.
_STEP_S = 0.002
_CAPACITY = 64


class Samples(NamedTuple):
    """What our server says to one request of each kind."""

    whole: bytes
    pieces: Sequence[bytes]
    #: Code, details and trailing metadata of a refusal.
    status: tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]


class _Nothing(Backend):
    """Knows its answer; for those who may wait its queue is full."""

    info = BackendInfo(
        model=pb.ModelIdentity(name="none", tokenizer_fingerprint=FINGERPRINT, revision="0" * 64),
        engine="none",
        parameter_count=1,
        vocabulary_size=100,
        context_length=256,
        end_of_sequence_ids=(2,),
        longest_token_bytes=8,
        max_new_tokens=128,
        queue_capacity=_CAPACITY,
        capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM),
    )

    def __init__(self, full: Places) -> None:
        self._full = full
        member = pb.MemberReport(model=pb.ModelIdentity(name="none"), parameter_count=1)
        report = pb.TierReport(tier="cloud", place=pb.PLACE_CLOUD, members=[member])
        self._whole = Answer(
            token_ids=[5] * TOKENS,
            logprobs=[-0.1] * (TOKENS + 1),
            margins=[],
            end_id=2,
            text="a " * TOKENS,
            stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
            prompt_tokens=8,
            generated_tokens=TOKENS + 1,
            reports=(report,),
        )

    async def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def health(self) -> bool:
        return True

    def check_room(self, ticket: Ticket) -> None:
        if ticket.claim.batch:
            self._full.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        if query.streamed:
            for _ in range(TOKENS):
                yield Delta([5], [-0.1], "a ")
                await asyncio.sleep(_STEP_S)
        yield Delta(answer=self._whole)


async def serve_ours(tell: Callable[[str], None]) -> None:
    """The service before a backend that computes nothing."""
    full = Places(_CAPACITY, "requests")
    with ExitStack() as held:
        for host in range(full.most):
            claim = Claim(f"10.0.0.{host}")
            held.enter_context(full.take(Ticket(float("inf"), time.monotonic, claim)))
        await serve(
            lambda **_: _Nothing(full),
            ServeOptions(listen="127.0.0.1:0"),
            stop=asyncio.Event(),
            on_ready=tell,
        )


async def serve_bare(tell: Callable[[str], None], said: Samples) -> None:
    """A grpc.aio server that sends what it was given."""

    async def generate(request: bytes, context: object) -> bytes:
        return said.whole

    async def refuse(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return await context.abort(*said.status)

    async def stream(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        for piece in said.pieces:
            await context.write(piece)
            await asyncio.sleep(_STEP_S)

    handlers = {
        "Generate": grpc.unary_unary_rpc_method_handler(generate),
        "Refused": grpc.unary_unary_rpc_method_handler(refuse),
        "GenerateStream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell(f"127.0.0.1:{port}")
    await server.wait_for_termination()
