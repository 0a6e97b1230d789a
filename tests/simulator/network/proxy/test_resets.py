"""Connections that one end resets: the other hears of it when its network would tell it."""

from __future__ import annotations

import asyncio
import select
import socket
import struct

import pytest
from proxied import FREE_PORT, HandClock, JumpClock, connected, reset, through

from escalade.simulator.network.profiles import get_profile
from escalade.simulator.network.proxy.proxy import Counters, Proxy
from escalade.v1.address import Address


def test_a_reset_by_the_cloud_reaches_the_device() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        reset(writer)

    async def main() -> None:
        clock = JumpClock()
        async with through("coe-10ms", hang_up, clock) as (_, reader, writer):
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert clock.now_s == pytest.approx(0.02)  # a round trip, after TCP's handshake

    asyncio.run(main())


async def closed(proxy: Proxy) -> None:
    async with asyncio.timeout(30):
        while proxy.open:
            await asyncio.sleep(0.001)


def test_a_cloud_that_vanishes_in_mid_stream_is_a_reset_after_what_it_said() -> None:
    """And no more than that: the next connection is served, and all is counted."""
    said = bytes(100_000)

    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(said)
        await writer.drain()
        while writer.transport.get_write_buffer_size():
            await asyncio.sleep(0)
        await reader.readexactly(1)  # the device has it, or a reset could overtake it
        reset(writer)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        assert await reader.readexactly(len(said)) == said
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()

    async def main() -> None:
        async with through("coe-10ms", vanish, JumpClock()) as (proxy, reader, writer):
            await hear(reader, writer)
            await closed(proxy)
            assert proxy.counters == Counters(1, 2, len(said))
            async with connected(proxy) as other:
                await hear(*other)
            await closed(proxy)
            assert proxy.counters == Counters(2, 4, 2 * len(said))

    asyncio.run(main())


@pytest.mark.parametrize("who", ["device", "cloud"])
def test_a_cloud_that_says_no_more_is_open_until_one_end_goes(who: str) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(1))
            await gone.wait()
            reset(writer)

        async with through("free", stall) as (proxy, reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            more = asyncio.create_task(reader.read())
            async with connected(proxy) as (other_reader, other_writer):
                other_writer.write(b"y")
                assert await other_reader.readexactly(1) == b"y"
                assert (proxy.open, proxy.counters) == (2, Counters(2, 2, 2))
                assert not more.done()
                reset(other_writer)
            if who == "device":
                reset(writer)
            else:
                gone.set()
                with pytest.raises(ConnectionResetError):
                    await more
            await closed(proxy)
            assert proxy.counters == Counters(2, 2, 2)
            more.cancel()

    asyncio.run(main())


def test_a_reset_by_the_device_reaches_the_cloud() -> None:
    async def main() -> None:
        seen: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(1))
            try:
                await reader.read()
            except ConnectionError as error:
                seen.set_result(error)

        async with through("free", watch) as (_, reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            reset(writer)
            assert isinstance(await seen, ConnectionResetError)

    asyncio.run(main())


@pytest.mark.parametrize("who", ["device", "cloud"])
@pytest.mark.parametrize("before", ["nothing", "half-close"])
def test_a_reset_is_not_held_back_by_bytes_that_nobody_takes(who: str, before: str) -> None:
    """A sender that fills the line and both sockets, and resets; the other end reads nothing."""

    async def main() -> None:
        clock = HandClock()
        with socket.create_server(FREE_PORT) as listening:
            proxy = Proxy(
                get_profile("coe-1s"), FREE_PORT, Address(*listening.getsockname()), clock=clock
            )
            async with proxy:
                device = socket.create_connection(proxy.address)
                cloud = (await asyncio.to_thread(listening.accept))[0]
                sender, other = (device, cloud) if who == "device" else (cloud, device)
                sender.setblocking(False)
                if before == "half-close":
                    other.shutdown(socket.SHUT_WR)
                stuck = 0
                while stuck < 50:
                    try:
                        sender.send(bytes(65536))
                        stuck = 0
                    except BlockingIOError:
                        stuck += 1
                    # What is in the line arrives, as far as the other end's socket has room.
                    await clock.move_to(clock.now_s + 1)
                    await asyncio.sleep(0.001)
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sender.close()
                poll = select.poll()
                poll.register(other, 0)
                async with asyncio.timeout(30):
                    # Told, but not before half a round trip has passed.
                    while not clock.waiting or clock.waiting[-1] <= clock.now_s:
                        await asyncio.sleep(0.001)
                    assert poll.poll(0) == []
                    await clock.move_to(clock.now_s + 1)
                    while not poll.poll(0):
                        await asyncio.sleep(0.001)
                other.close()

    asyncio.run(main())


def test_a_reset_after_a_half_close_is_heard() -> None:
    async def main() -> None:
        with socket.create_server(FREE_PORT) as listening:
            proxy = Proxy(get_profile("free"), FREE_PORT, Address(*listening.getsockname()))
            async with proxy:
                device = socket.create_connection(proxy.address)
                cloud = (await asyncio.to_thread(listening.accept))[0]
                device.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(cloud.recv, 1) == b""
                device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                device.close()
                poll = select.poll()
                poll.register(cloud, 0)
                async with asyncio.timeout(30):
                    while not poll.poll(0):
                        await asyncio.sleep(0.001)
                cloud.close()

    asyncio.run(main())
