"""The live proxy on real sockets; delays on virtual clocks, lower bounds on the real one."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from proxied import (
    FREE_PORT,
    HandClock,
    JumpClock,
    connected,
    echo,
    health_through,
    reset,
    serving,
    through,
)

from escalade.simulator.errors import ProxyError
from escalade.simulator.network.profiles import Cycle, Profile, RateSeries, get_profile
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.network.proxy.connection import IN_FLIGHT_BYTES
from escalade.simulator.network.proxy.proxy import Counters, Proxy
from escalade.v1.address import Address


@contextmanager
def refusing() -> Iterator[tuple[str, int]]:
    """An address that is held, so that nobody else takes it, and does not listen."""
    with socket.socket() as sock:
        sock.bind(FREE_PORT)
        yield sock.getsockname()


def test_bytes_are_carried_and_counted_exactly() -> None:
    async def main() -> None:
        payload = bytes(range(256)) * 4096 + b"end"
        size = len(payload)
        async with through("free", echo) as (proxy, reader, writer):
            writer.write(payload)
            assert await reader.readexactly(size) == payload
            assert proxy.counters == Counters(1, size, size)
            async with connected(proxy) as (second_reader, second_writer):
                second_writer.write(b"again")
                assert await second_reader.readexactly(5) == b"again"
                assert proxy.counters == Counters(2, size + 5, size + 5)

    asyncio.run(main())


def test_many_may_come_before_one_is_accepted() -> None:
    async def main() -> None:
        with refusing() as cloud, ExitStack() as stack:
            async with Proxy(get_profile("free"), FREE_PORT, Address(*cloud)) as proxy:
                # The loop stands still meanwhile: it is the kernel that takes them.
                for _ in range(150):
                    opened = socket.create_connection(proxy.address, timeout=0.5)
                    stack.enter_context(opened)

    asyncio.run(main())


@pytest.mark.parametrize(
    "name",
    [p.name for p in shipped_profiles().values() if not (p.jitter_ms + p.loss or p.outages)],
)
def test_a_round_trip_takes_what_the_profile_says(name: str) -> None:
    async def main() -> None:
        profile, clock = get_profile(name), JumpClock()
        link_s = sum(
            0 if mbps is None else 1000 * 8 / (mbps * 1e6)
            for mbps in (profile.up_mbps, profile.down_mbps)
        )
        async with through(name, echo, clock) as (_, reader, writer):
            for trips in (1, 2):
                writer.write(bytes(1000))
                await reader.readexactly(1000)
                # TCP's handshake takes one more, of next to no bytes.
                rtt_s = profile.rtt_ms / 1e3
                assert clock.now_s == pytest.approx(rtt_s + trips * (rtt_s + link_s))

    asyncio.run(main())


def test_delays_of_chunks_in_flight_overlap() -> None:
    async def main() -> None:
        clock = HandClock()
        async with through("coe-100ms", echo, clock) as (proxy, _, writer):
            await clock.until(lambda: clock.stamps == 1)
            await clock.move_to(0.1)  # by when TCP has shaken hands
            writer.write(b"first")
            await clock.until(lambda: clock.waiting == pytest.approx([0.15]))
            await clock.move_to(0.13)
            writer.write(b"second")
            await clock.until(lambda: clock.stamps == 3)
            assert proxy.counters.bytes_up == 0
            await clock.move_to(0.16)
            # Stamped when it came, the second is due 50 ms after 0.13, not after 0.16;
            # the echo of the first, which came then, is due at 0.21.
            await clock.until(lambda: len(clock.waiting) == 2)
            assert sorted(clock.waiting) == pytest.approx([0.18, 0.21])
            assert proxy.counters.bytes_up == len(b"first")

    asyncio.run(main())


def test_seed_decides_jitter() -> None:
    async def times_s(seed: int) -> list[float]:
        clock = JumpClock()
        times = []
        async with through("leo", echo, clock, seed=seed) as (_, reader, writer):
            for _ in range(5):
                writer.write(b"x")
                await reader.readexactly(1)
                times.append(clock.now_s)
        return times

    async def main() -> None:
        assert await times_s(1) == await times_s(1)
        assert await times_s(1) != await times_s(2)

    asyncio.run(main())


def test_a_half_close_crosses_and_the_other_half_stays_open() -> None:
    async def answer_after_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()
        writer.write(asked[::-1])
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        clock = JumpClock()
        async with through("coe-10ms", answer_after_end, clock) as (_, reader, writer):
            writer.write(b"abc")
            writer.write_eof()
            assert await reader.read() == b"cba"
            assert clock.now_s >= 0.01

    asyncio.run(main())


def test_a_full_line_holds_the_sender_back() -> None:
    size = 8 * IN_FLIGHT_BYTES

    async def main() -> None:
        clock = HandClock()
        async with through("coe-10ms", echo, clock) as (proxy, reader, writer):
            writer.write(bytes(size))
            unsent, still = size, 0
            while still < 1000:
                await asyncio.sleep(0)
                now = writer.transport.get_write_buffer_size()
                still = still + 1 if now == unsent else 0
                unsent = now
            # Time stands still and nothing is delivered. The kernel holds a few MiB each
            # side; without a bound the line would have taken all.
            assert unsent > size // 4
            assert proxy.counters.bytes_up == 0
            received = asyncio.create_task(reader.readexactly(size))
            while not received.done():
                await clock.move_to(clock.now_s + 1)
                await asyncio.sleep(0)
            assert proxy.counters == Counters(1, size, size)

    asyncio.run(main())


def test_a_cloud_that_is_down_closes_the_connection_a_round_trip_later() -> None:
    async def main() -> None:
        clock = HandClock()
        with refusing() as down:
            async with (
                Proxy(get_profile("coe-1s"), FREE_PORT, down, clock=clock) as proxy,
                connected(proxy) as (reader, _),
                connected(proxy) as (_, leaving),
            ):
                await clock.until(lambda: len(clock.waiting) == 2)
                assert clock.waiting == [1.0, 1.0]
                reset(leaving)  # and nobody waits for it
                await clock.until(lambda: proxy.open == 1)
                read = asyncio.create_task(reader.read())
                await clock.move_to(0.9)
                assert not read.done()
                await clock.move_to(1.0)
                with pytest.raises(ConnectionResetError):
                    await read

    asyncio.run(main())


def test_leaving_closes_connections_and_the_port() -> None:
    async def main() -> None:
        async with serving(echo) as cloud:
            async with Proxy(get_profile("free"), FREE_PORT, cloud) as proxy:
                address = proxy.address
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"x")
                await reader.readexactly(1)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)

    asyncio.run(main())


def test_a_port_in_use_is_named() -> None:
    async def main(taken: Address) -> None:
        async with Proxy(get_profile("free"), taken, FREE_PORT):
            pass

    with socket.create_server(FREE_PORT) as server:
        host, port = server.getsockname()
        with pytest.raises(ProxyError, match=f"listen on {host}:{port}: address already in use"):
            asyncio.run(main(Address(host, port)))


def test_grpc_calls_cross_and_take_at_least_the_rtt() -> None:
    async def main() -> None:
        async with health_through(get_profile("coe-10ms")) as (proxy, stub):
            for _ in range(4):
                before = proxy.counters
                started_s = time.monotonic()
                reply = await stub.Check(health_pb2.HealthCheckRequest())
                assert time.monotonic() - started_s >= 0.010
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
                assert proxy.counters.bytes_up > before.bytes_up
                assert proxy.counters.bytes_down > before.bytes_down
            assert proxy.counters.connections == 1

    asyncio.run(main())


def test_grpc_sees_a_cloud_that_is_down_as_unavailable() -> None:
    async def main() -> None:
        with refusing() as down:
            async with Proxy(get_profile("free"), FREE_PORT, down) as proxy:
                host, port = proxy.address
                async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                    stub = health_pb2_grpc.HealthStub(channel)
                    with pytest.raises(grpc.aio.AioRpcError) as error:
                        await stub.Check(health_pb2.HealthCheckRequest())
                    assert error.value.code() == grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_live_traffic_meets_what_a_profile_does_by_the_clock() -> None:
    """Nothing passes for 3 of 15 s, and bandwidth comes and goes: as virtual time has it."""
    profile = Profile(
        name="handover",
        rtt_ms=100,
        outages=(Cycle(every_s=15, lasts_s=3),),
        up_trace=RateSeries([(0, 0), (5, 8)]),
        source="test",
    )

    async def main() -> None:
        clock = JumpClock()
        clock.now_s = 1000.0
        async with serving(echo) as cloud, Proxy(profile, FREE_PORT, cloud, clock=clock) as proxy:
            clock.now_s += 1
            async with connected(proxy) as (reader, writer):
                writer.write(bytes(1000))
                await reader.readexactly(1000)
        # Away until 3 s, no bandwidth until 5 s, 1,000 bytes at 8 Mb/s, a round trip.
        assert clock.now_s == pytest.approx(1005.101)

    asyncio.run(main())
