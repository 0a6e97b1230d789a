"""What `framework.py` asks: our server on a backend that computes nothing, and a bare one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import grpc
import grpc.aio
from benchmarks.cloud.nothing import CAPACITY, Nothing

from escalade.cloud.backends import Claim, Delta, Places, Ticket
from escalade.cloud.server import ServeOptions, serve

SERVICE = "escalade.v1.CascadeService"
TOKENS = 64
# Between tokens of a stream: 64 streams are to give more tokens a second than either server can
# send. Where ours is slower than its backend, several go in one message.
_STEP_S = 0.002


class Samples(NamedTuple):
    """What our server says to one request of each kind."""

    whole: bytes
    pieces: Sequence[bytes]
    #: Code, details and trailing metadata of a refusal.
    status: tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]


async def serve_ours(tell: Callable[[str], None]) -> None:
    """The service before a backend that computes nothing."""
    full, delta = Places(CAPACITY, "requests"), Delta([5], [-0.1], "a ")
    with ExitStack() as held:
        for host in range(full.most):
            claim = Claim(f"10.0.0.{host}")
            held.enter_context(full.take(Ticket(float("inf"), time.monotonic, claim)))
        await serve(
            lambda **_: Nothing(TOKENS, delta, step_s=_STEP_S, full=full),
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
