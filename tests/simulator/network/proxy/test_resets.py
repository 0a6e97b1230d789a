"""Connections that one end resets: the other hears of it when its network would tell it."""

from __future__ import annotations

import asyncio
import select
import socket
import struct

import pytest
from proxied import FREE_PORT, HandClock, JumpClock, reset, through

from escalade.simulator.network.profiles import get_profile
from escalade.simulator.network.proxy.proxy import Proxy
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
