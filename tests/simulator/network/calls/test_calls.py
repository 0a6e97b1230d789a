"""Calls over a network in process, with a real gRPC server, on clocks that a test moves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest
from quick import Quick, served

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.simulator.network.calls import CallBytes, CallNetwork
from escalade.simulator.network.calls.crossing import LOST_AFTER_S
from escalade.simulator.network.delay_lines.lines import Laying
from escalade.simulator.network.framing import FRAMING_BYTES, GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.network.profiles import Cycle, Profile, get_profile, with_fields
from escalade.v1 import cascade_pb2 as pb

WITHIN_S = 60.0


class JumpClock:
    """Time stands still until someone waits, then jumps there."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def wait_until(self, when_s: float, given_up: threading.Event) -> None:
        self.now_s = max(self.now_s, when_s)


class HandClock:
    """Time moves when the test says so; it sees every wait."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waiting: list[float] = []
        self._moved = threading.Condition()

    def now(self) -> float:
        return self.now_s

    def wait_until(self, when_s: float, given_up: threading.Event) -> None:
        with self._moved:
            self.waiting.append(when_s)
            self._moved.notify_all()
            while self.now_s < when_s and not given_up.is_set():
                self._moved.wait(0.01)  # whoever gives up tells the event alone
            self.waiting.remove(when_s)

    def move_to(self, now_s: float) -> None:
        with self._moved:
            self.now_s = now_s
            self._moved.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._moved:
            assert self._moved.wait_for(condition, WITHIN_S)


class Server:
    """Echoes a message, says it `b[0]` times, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.address = ""

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked += 1
        return request

    def repeat(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in range(request[0]):
            yield request
        if request[1:] == b"fail":
            context.abort(grpc.StatusCode.INTERNAL, "as asked")

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("why", "asked"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        raise AssertionError


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    it = Server()
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(it.echo),
        "Repeat": grpc.unary_stream_rpc_method_handler(it.repeat),
        "Fail": grpc.unary_unary_rpc_method_handler(it.fail),
    }
    real = grpc.server(ThreadPoolExecutor(4))
    real.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.T", handlers)])
    it.address = f"127.0.0.1:{real.add_insecure_port('127.0.0.1:0')}"
    real.start()
    yield it
    real.stop(None).wait()


@contextmanager
def behind(network: CallNetwork, server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as direct:
        yield network.before(server.address, direct)


class Told(list[CallBytes]):
    """The calls that have ended, which is told by threads of theirs."""

    def __init__(self) -> None:
        self._more = threading.Condition()

    def __call__(self, call: CallBytes) -> None:
        with self._more:
            self.append(call)
            self._more.notify_all()

    def of(self, count: int) -> list[CallBytes]:
        with self._more:
            assert self._more.wait_for(lambda: len(self) >= count, WITHIN_S)
            return list(self)


@pytest.mark.parametrize(
    "profile",
    [
        *map(get_profile, ("free", "coe-1us", "coe-1s", "lte", "leo", "wifi-good")),
        with_fields(get_profile("lte"), {"jitter_ms": 20, "loss": 0.2}),
        Profile(name="away", rtt_ms=9, outages=(Cycle(every_s=3, lasts_s=1),), source="test"),
    ],
    ids=lambda profile: profile.name,
)
def test_calls_take_what_virtual_time_says_and_the_proxys_lines_give(
    server: Server, profile: Profile
) -> None:
    clock = JumpClock()
    lines = Laying(profile, 5, lambda: 0.0).lay(1)
    with behind(CallNetwork(profile, seed=5, clock=clock), server) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        for size in (10, 3000, 70, 100_000):
            at_s = lines.up.release_s(clock.now_s, size + GRPC_BYTES_UP)
            assert len(echo(bytes(size))) == size
            assert clock.now_s == lines.down.release_s(at_s, size + GRPC_BYTES_DOWN)


def test_messages_of_a_stream_are_in_flight_together(server: Server) -> None:
    clock, told = HandClock(), Told()
    network = CallNetwork(get_profile("coe-100ms"), clock=clock, on_call=told)
    with behind(network, server) as channel:
        call = channel.unary_stream("/t.T/Repeat")(b"\x03")
        clock.until(lambda: clock.waiting == [0.05])
        clock.move_to(0.05)
        with call._changed:  # all of them, before time goes on
            assert call._changed.wait_for(lambda: len(call._come) == 3, WITHIN_S)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.extend(call))
        reader.start()
        # The reader waits for the first one: half a round trip after it was stamped.
        clock.until(lambda: clock.waiting == [0.1])
        assert got == []
        clock.move_to(0.1)
        reader.join(WITHIN_S)
        assert got == [b"\x03"] * 3
        assert call.code() is grpc.StatusCode.OK
    (one,) = told.of(1)
    assert one == CallBytes(
        method="/t.T/Repeat",
        code="OK",
        seconds=0.1,
        messages_down=3,
        payload_up=1,
        payload_down=3,
        wire_up=1 + GRPC_BYTES_UP,
        wire_down=3 + GRPC_BYTES_DOWN + 2 * FRAMING_BYTES,
    )


def test_what_the_server_says_of_a_failure_comes_after_a_round_trip(server: Server) -> None:
    clock, told = JumpClock(), Told()
    network = CallNetwork(get_profile("coe-100ms"), clock=clock, on_call=told)
    with behind(network, server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/t.T/Fail")(b"x")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such thing"
        assert ("why", "asked") in caught.value.trailing_metadata()
        assert clock.now_s == pytest.approx(0.1)
        got = []
        with pytest.raises(grpc.RpcError, match="as asked"):
            got.extend(channel.unary_stream("/t.T/Repeat")(b"\x01fail"))
    assert [one.code for one in told.of(2)] == ["NOT_FOUND", "INTERNAL"]


@pytest.mark.parametrize(("timeout_s", "asked"), [(0.3, 0), (0.7, 1)])
def test_a_deadline_is_of_both_ways_together(server: Server, timeout_s: float, asked: int) -> None:
    clock, before = JumpClock(), server.asked
    network = CallNetwork(get_profile("coe-1s"), clock=clock)
    with behind(network, server) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Echo")(b"x", timeout=timeout_s)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert clock.now_s == pytest.approx(timeout_s)
    assert server.asked == before + asked


@pytest.mark.parametrize("kind", ["answer", "stream"])
def test_a_call_on_its_way_can_be_given_up(server: Server, kind: str) -> None:
    clock, told, before = HandClock(), Told(), server.asked
    network = CallNetwork(get_profile("coe-1s"), clock=clock, on_call=told)
    with behind(network, server) as channel:
        if kind == "answer":
            future = channel.unary_unary("/t.T/Echo").future(b"x")
            with pytest.raises(grpc.FutureTimeoutError):
                future.result(timeout=0)
            future.cancel()
            with pytest.raises(grpc.FutureCancelledError):
                future.result()
            assert future.cancelled()
        else:
            call = channel.unary_stream("/t.T/Repeat")(b"\x01")
            call.cancel()
            with pytest.raises(grpc.RpcError, match="cancelled by its caller"):
                next(call)
    (one,) = told.of(1)
    assert (one.code, one.wire_up, server.asked) == ("CANCELLED", 0, before)


def test_a_change_holds_for_what_comes_after_it_and_nothing_overtakes(server: Server) -> None:
    clock = HandClock()
    network = CallNetwork(get_profile("coe-1s"), clock=clock)
    with behind(network, server) as channel:
        echo = channel.unary_unary("/t.T/Echo")
        slow = echo.future(b"slow")
        clock.until(lambda: clock.waiting == [0.5])
        network.change(get_profile("coe-10ms"))
        fast = echo.future(b"fast")
        clock.until(lambda: clock.waiting == [0.5, 0.5])
        clock.move_to(0.5)
        clock.until(lambda: clock.waiting == [0.505, 0.505])
        clock.move_to(0.505)
        assert (slow.result(WITHIN_S), fast.result(WITHIN_S)) == (b"slow", b"fast")


def away(lasts_s: float) -> Profile:
    outage = Cycle(every_s=1000, lasts_s=lasts_s)
    return Profile(name="away", rtt_ms=100, outages=(outage,), source="test")


class NoWait:
    """A client's own clock, on which it backs off at once."""

    def now_s(self) -> float:
        return 0.0

    def sleep_s(self, seconds: float) -> None:
        pass


def test_an_outage_is_waited_for_as_long_as_pings_would_and_then_may_be_asked_again() -> None:
    clock, told = JumpClock(), Told()
    network = CallNetwork(away(2.5 * LOST_AFTER_S), clock=clock, on_call=told)
    with served() as address:
        client = CloudClient(
            address,
            deadline_s=100.0,
            clock=NoWait(),
            rng=random.Random(1),
            through=network.before,
            breaker_after=0,
        )
        try:
            answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")))
        finally:
            client.close()
    assert answer is not None
    assert [one.code for one in told.of(3)] == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert answer.attempts == 3
    assert clock.now_s == pytest.approx(2.5 * LOST_AFTER_S + 0.1)
    last = told[-1]
    assert (last.payload_up, last.payload_down) == (answer.bytes_up, answer.bytes_down)


class Streaming(Quick):
    info = replace(Quick.info, capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM))


def test_streams_of_the_wire_come_over_it_and_a_dead_network_is_a_cloud_error() -> None:
    clock = JumpClock()
    network = CallNetwork(get_profile("lte"), clock=clock)
    with served(backend=Streaming()) as address:
        client = CloudClient(address, through=network.before, deadline_s=5.0)
        try:
            request = pb.GenerateRequest(prompt=pb.Prompt(text="x"))
            assert list(client.stream(request))
            assert clock.now_s > 0.07
            network.change(away(900))
            with pytest.raises(CloudError, match=r"no answer within 5 s"):
                client.generate(request)
        finally:
            client.close()
