"""How connections begin: the rule, against gRPC over real sockets through the live proxy."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from authority import Authority, needs_openssl

from escalade.simulator.network import DelayLine, Profile
from escalade.simulator.network.delay_lines.opening import ready_s
from escalade.simulator.network.proxy.proxy import Proxy
from escalade.v1.address import Address

_RTT_S = 0.1
_NETWORK = Profile(name="test", rtt_ms=1e3 * _RTT_S, down_mbps=None, up_mbps=None, source="made up")
_SERVICE, _RPC = "test.Service", "Send"


async def _send(request: bytes, context: object) -> bytes:
    return bytes(int.from_bytes(request[:4], "big"))


@asynccontextmanager
async def _connected(authority: Authority | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """To a server that answers with as many bytes as it is told, through a proxy."""
    async with AsyncExitStack() as stack:
        # Longer than the server, on loopback, waits for the first request.
        server = grpc.aio.server(options=[("grpc.max_connection_idle_ms", 600)])
        handler = grpc.unary_unary_rpc_method_handler(_send)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(_SERVICE, {_RPC: handler})]
        )
        if authority is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            pair = authority.issue("server")
            shown = (pair.key.read_bytes(), pair.cert.read_bytes())
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([shown]))
        await server.start()
        stack.push_async_callback(server.stop, None)
        listen, upstream = Address("127.0.0.1", 0), Address("127.0.0.1", port)
        proxy = await stack.enter_async_context(Proxy(_NETWORK, listen, upstream))
        if authority is None:
            channel = grpc.aio.insecure_channel(str(proxy.address))
        else:
            trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
            channel = grpc.aio.secure_channel(str(proxy.address), trusted)
        yield await stack.enter_async_context(channel)


async def _trips(channel: grpc.aio.Channel, up: int = 100, down: int = 100) -> int:
    """Whole round trips that a call takes which sends and receives so many bytes."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{_SERVICE}/{_RPC}"
    )
    began_s = time.monotonic()
    answer = await call(down.to_bytes(4, "big") + bytes(up))
    assert len(answer) == down
    return int((time.monotonic() - began_s) / _RTT_S)


def _expected(*, tls: bool) -> int:
    up, down = (DelayLine(_NETWORK, way, random.Random(0)) for way in ("up", "down"))
    return round(ready_s(up, down, 0.0, tls=tls) / _RTT_S) + 1


def test_a_first_call_and_one_after_a_hang_up_take_what_the_rule_says() -> None:
    async def main() -> None:
        async with _connected() as channel:
            assert await _trips(channel) == _expected(tls=False) == 3
            assert await _trips(channel) == 1
            async with asyncio.timeout(30):
                while (state := channel.get_state()) is grpc.ChannelConnectivity.READY:
                    await channel.wait_for_state_change(state)
            assert await _trips(channel) == 3

    asyncio.run(main())


@needs_openssl
def test_tls_takes_one_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with _connected(Authority(tmp_path)) as channel:
            assert await _trips(channel) == _expected(tls=True) == 4
            assert await _trips(channel) == 1

    asyncio.run(main())


@pytest.mark.parametrize(("up", "down"), [(1_000_000, 100), (100, 1_000_000)])
def test_windows_of_http2_hold_no_message_up(up: int, down: int) -> None:
    async def main() -> None:
        async with _connected() as channel:
            await _trips(channel)
            # Windows of 64 KiB, HTTP/2's first, would take 15 more.
            assert await _trips(channel, up, down) < 3

    asyncio.run(main())
