"""A real cloud behind a real proxy, on clocks that a test moves."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from escalade.simulator.network.clock import Clock
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.network.proxy.proxy import Proxy
from escalade.v1.address import Address

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FREE_PORT = Address("127.0.0.1", 0)


class JumpClock:
    """Time stands still until someone waits, then jumps there."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    async def wait_until(self, when_s: float) -> None:
        self.now_s = max(self.now_s, when_s)


class HandClock:
    """Time moves when the test says so; it sees every stamp and every wait."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stamps = 0
        self.waiting: list[float] = []
        self._moved = asyncio.Condition()

    def now(self) -> float:
        self.stamps += 1
        return self.now_s

    async def wait_until(self, when_s: float) -> None:
        self.waiting.append(when_s)
        async with self._moved:
            await self._moved.wait_for(lambda: self.now_s >= when_s)
        self.waiting.remove(when_s)

    async def move_to(self, now_s: float) -> None:
        async with self._moved:
            self.now_s = now_s
            self._moved.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Address]:
    """A TCP server on a free port; what its handlers hold open is closed at the end."""
    open_ones: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones[writer] = asyncio.create_task(handle(reader, writer))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        # One whose handler has not begun is open too.
        for writer, task in open_ones.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*open_ones.values(), return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def through(
    name: str, handler: Handler, clock: Clock | None = None, *, seed: int = 0
) -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A device's connection through a proxy of that profile to a cloud that runs `handler`."""
    async with serving(handler) as cloud:
        proxy = Proxy(get_profile(name), FREE_PORT, cloud, seed=seed, clock=clock)
        async with proxy, connected(proxy) as (reader, writer):
            yield proxy, reader, writer


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def health_through(
    profile: Profile,
) -> AsyncIterator[tuple[Proxy, health_pb2_grpc.HealthStub]]:
    """A proxy before a real gRPC server, and what asks that over one connection."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Proxy(profile, FREE_PORT, Address("127.0.0.1", port)) as proxy:
        host, listening = proxy.address
        async with grpc.aio.insecure_channel(f"{host}:{listening}") as channel:
            yield proxy, health_pb2_grpc.HealthStub(channel)
    await server.stop(None)
