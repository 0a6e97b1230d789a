"""The network of a proxy is changed over real HTTP, while bytes are in flight on virtual time."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Literal

import pytest
from proxied import FREE_PORT, HandClock, JumpClock, connected, echo, reset, serving

from escalade.simulator.errors import ProxyError
from escalade.simulator.network.clock import Clock
from escalade.simulator.network.delay_lines.lines import Laying
from escalade.simulator.network.delay_lines.opening import Open, shake_hands
from escalade.simulator.network.profiles import get_profile, profiles_with
from escalade.simulator.network.proxy.control import Control, Fields, ProxyState
from escalade.simulator.network.proxy.control_client import ControlClient
from escalade.simulator.network.proxy.control_port import ControlPort
from escalade.simulator.network.proxy.proxy import Proxy
from escalade.simulator.network.proxy.running import run_proxy
from escalade.v1.address import Address


class Remote:
    """A control's client, asked in a thread: the loop that it asks is the test's."""

    def __init__(self, client: ControlClient) -> None:
        self.client = client

    async def state(self) -> ProxyState:
        return await asyncio.to_thread(self.client.state)

    async def set(self, profile: str | None = None, **fields: object) -> ProxyState:
        given: Fields = fields
        return await asyncio.to_thread(self.client.set, profile, given)

    async def act(self, what: Literal["pause", "resume", "reset"]) -> ProxyState:
        return await asyncio.to_thread(self.client.act, what)


@asynccontextmanager
async def controlled(
    name: str, clock: Clock, *, seed: int = 0
) -> AsyncIterator[tuple[Proxy, Remote]]:
    """A proxy before an echo, and its control."""
    async with serving(echo) as cloud:
        proxy = Proxy(get_profile(name), FREE_PORT, cloud, seed=seed, clock=clock)
        async with proxy:
            control = Control(proxy, profiles_with(None))
            port = ControlPort(FREE_PORT, control, asyncio.get_running_loop())
            try:
                yield proxy, Remote(ControlClient(str(port.address)))
            finally:
                await asyncio.to_thread(port.close)


def test_a_change_holds_for_what_comes_after_it_and_nothing_overtakes() -> None:
    async def main() -> None:
        clock = HandClock()
        async with controlled("coe-1s", clock) as (proxy, control), connected(proxy) as streams:
            reader, writer = streams
            writer.write(b"first")  # after a round trip of TCP's
            for arrives_s in (1.5, 2.0):
                await clock.until(lambda at_s=arrives_s: clock.waiting == [at_s])
                await clock.move_to(arrives_s)
            assert await reader.readexactly(5) == b"first"
            writer.write(b"slow")
            await clock.until(lambda: clock.waiting == [2.5])
            await clock.move_to(2.1)
            state = await control.set("coe-10ms")
            assert (state.profile, state.network.rtt_ms, state.changes) == ("coe-10ms", 10, 1)
            assert state.before is not None
            assert (state.before.profile, state.before.held_s) == ("coe-1s", pytest.approx(2.1))
            before = clock.stamps
            writer.write(b"fast")
            await clock.until(lambda: clock.stamps > before)
            # Due at 2.105, it comes behind what was in flight; back it is on the new network.
            await clock.move_to(2.499)
            assert proxy.counters.bytes_up == 5
            await clock.move_to(2.5)
            await clock.until(lambda: proxy.counters.bytes_up == 13)
            await clock.until(lambda: clock.waiting == [pytest.approx(2.505)])
            await clock.move_to(2.505)
            assert await reader.readexactly(8) == b"slowfast"

    asyncio.run(main())


def test_connections_that_are_open_and_new_ones_meet_the_same_network_as_virtual_time() -> None:
    """Jitter and loss of a change are keyed by seed, connection and change alone."""

    async def main() -> None:
        clock = JumpClock()
        laying = Laying(get_profile("free"), 7, clock.now)
        async with (
            controlled("free", clock, seed=7) as (proxy, control),
            connected(proxy) as first,
        ):
            first[1].write(b"x")
            await first[0].readexactly(1)
            before = laying.lay(1)
            await control.set("lte", jitter_ms=20, loss=0.2)
            laying.change(proxy.profile)
            async with connected(proxy) as second:
                while proxy.open < 2:
                    await asyncio.sleep(0)
                lines = {1: laying.lay(1, before), 2: laying.lay(2)}
                opened = {1: Open(0.0, 0.0), 2: shake_hands(*lines[2], clock.now_s)}
                for number, (reader, writer) in ((1, first), (2, second)):
                    up, down = lines[number]
                    for _ in range(5):
                        sent_s = max(opened[number].client_s, clock.now_s)
                        writer.write(bytes(1000))
                        await reader.readexactly(1000)
                        there_s = max(opened[number].server_s, up.release_s(sent_s, 1000))
                        assert clock.now_s == down.release_s(there_s, 1000)

    asyncio.run(main())


def test_a_pause_holds_what_comes_until_it_is_over() -> None:
    async def main() -> None:
        clock = JumpClock()
        async with (
            controlled("coe-100ms", clock) as (proxy, control),
            connected(proxy) as (reader, writer),
        ):
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            assert (await control.act("pause")).paused
            async with connected(proxy) as (new_reader, new_writer):
                writer.write(b"b")
                new_writer.write(b"c")
                while (await control.state()).open < 2:
                    pass
                clock.now_s = 60.0
                assert proxy.counters.bytes_up == 1
                assert not (await control.act("resume")).paused
                assert await reader.readexactly(1) == b"b"
                # Its handshake is let in with what waits: a round trip before what it says.
                assert await new_reader.readexactly(1) == b"c"
                assert clock.now_s == pytest.approx(60.2)

    asyncio.run(main())


def test_nobody_hears_in_a_pause_that_the_cloud_is_down() -> None:
    """Who knocks is served once the pause is over, if the cloud is back by then; or has gone."""

    async def main() -> None:
        with socket.create_server(FREE_PORT) as taken:
            port = taken.getsockname()[1]
        proxy = Proxy(get_profile("free"), FREE_PORT, Address("127.0.0.1", port))
        async with proxy:
            proxy.pause()
            async with connected(proxy) as (reader, writer), connected(proxy) as (_, leaving):
                writer.write(b"a")
                while proxy.open < 2:
                    await asyncio.sleep(0)
                reset(leaving)
                while proxy.open > 1:
                    await asyncio.sleep(0)
                back = await asyncio.start_server(echo, "127.0.0.1", port)
                async with back:
                    proxy.resume()
                    assert await reader.readexactly(1) == b"a"
                    writer.close()

    asyncio.run(main())


def test_many_may_ask_at_once() -> None:
    """And those that say nothing hold nobody up."""

    async def main() -> None:
        async with controlled("free", JumpClock()) as (_, control):
            with ExitStack() as stack:
                for _ in range(100):  # each at once, or after a second
                    asking = socket.create_connection(control.client.to, timeout=0.9)
                    stack.enter_context(asking)
                assert (await control.state()).open == 0

    asyncio.run(main())


def test_reset_cuts_every_connection_and_the_next_one_is_served() -> None:
    async def main() -> None:
        async with controlled("free", JumpClock()) as (proxy, control):
            async with connected(proxy) as (reader, writer):
                writer.write(b"a")
                assert await reader.readexactly(1) == b"a"
                assert (await control.act("reset")).reset == 1
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            async with connected(proxy) as (reader, writer):
                writer.write(b"b")
                assert await reader.readexactly(1) == b"b"
            state = await control.state()
            assert (state.connections, state.bytes_up, state.bytes_down) == (2, 2, 2)

    asyncio.run(main())


def test_fields_add_up_until_a_profile_is_named_and_a_refusal_changes_nothing() -> None:
    async def main() -> None:
        async with controlled("lte", JumpClock()) as (proxy, control):
            await control.set(rtt_ms=300)
            state = await control.set(up_mbps=None)
            assert (state.profile, state.fields) == ("lte", {"rtt_ms": 300, "up_mbps": None})
            assert (state.network.rtt_ms, state.network.up_mbps) == (300, None)
            for given, said in (
                ({"profile": "let"}, "did you mean 'lte'"),
                ({"rtt": 1}, "got 'rtt'; did you mean 'rtt_ms'"),
                ({"loss": 2}, "loss must be 0 <= loss < 1; got 2"),
                ({"down_mbps": float("nan")}, "down_mbps must be finite; got nan"),
                ({"down_mbps": float("inf")}, "down_mbps must be finite; got inf"),
            ):
                with pytest.raises(ProxyError, match=said):
                    await control.set(**given)  # type: ignore[arg-type]
            assert await control.state() == state
            assert (await control.set("wifi-good")).fields == {}
            assert proxy.profile == get_profile("wifi-good")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "said"),
    [
        ("GET", "/state", {"Host": "evil.example"}, b"", 403, b"programs on this machine"),
        ("POST", "/set", {"Origin": "http://127.0.0.1"}, b"{}", 403, b"programs on this machine"),
        ("GET", "/set", {}, b"", 404, b"GET must be of one of /state; got '/set'"),
        ("POST", "/oops", {}, b"", 404, b"/set, /pause, /resume, /reset; got '/oops'"),
        ("POST", "/set", {}, b"{", 400, b"no JSON"),
        ("POST", "/set", {}, b'{"profil": "lte"}', 400, b"did you mean 'profile'"),
        ("POST", "/set", {"Content-Length": "9999999"}, b"", 413, b"must be 0 to 65536"),
        ("PUT", "/set", {}, b"{}", 501, b'{"error":"Unsupported method (\'PUT\')"}'),
        ("GET", "/" * 70_000, {}, b"", 414, b'{"error":"Request-URI Too Long"}'),
    ],
)
def test_what_is_not_for_it_is_refused(
    method: str, path: str, headers: dict[str, str], body: bytes, status: int, said: bytes
) -> None:
    def ask(host: str, port: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async def main() -> None:
        async with controlled("free", JumpClock()) as (_, control):
            got = await asyncio.to_thread(ask, *control.client.to)
            assert got[0] == status
            assert said in got[1]
            assert (await control.state()).changes == 0

    asyncio.run(main())


@pytest.mark.parametrize("control", ["0.0.0.0:0", "example.org:1", "[::]:0"])
def test_control_is_on_loopback_or_nowhere(control: str) -> None:
    def refused() -> None:
        run_proxy(
            get_profile("free"), ":0", ":1", seed=0, on_ready=lambda *_: None, control=control
        )

    with pytest.raises(ProxyError, match="control address must be loopback .*; got"):
        refused()


def test_who_is_no_control_is_named() -> None:
    async def main() -> None:
        async with serving(echo) as (host, port):
            with pytest.raises(ProxyError, match="no `escalade proxy --control`"):
                await Remote(ControlClient(f"{host}:{port}")).state()
        with pytest.raises(ProxyError, match=rf"control {host}:{port}: Connection refused"):
            await Remote(ControlClient(f"{host}:{port}")).state()

    asyncio.run(main())


def test_a_reset_ends_a_connection_that_has_only_just_come() -> None:
    async def main() -> None:
        async with controlled("free", JumpClock()) as (proxy, _):
            device = socket.create_connection(proxy.address)
            while not proxy._tasks:
                await asyncio.sleep(0)
            assert proxy.reset() == 1
            with device, pytest.raises(ConnectionResetError):
                await asyncio.to_thread(device.recv, 1)

    asyncio.run(main())
