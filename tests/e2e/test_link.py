"""The edge's side of a link, with the real server at the other end: breaker, hedge, middlebox."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from quick import Quick, killable, served
from relay import relay_to

from escalade.edge.base import SystemClock
from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient, Hedge
from escalade.edge.wire.sending import CloudAnswer
from escalade.simulator.network import Profile
from escalade.simulator.network.proxy.proxy import Proxy
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import channel
from escalade.v1.address import Address, parse_address


def ask(client: CloudClient) -> CloudAnswer:
    answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")))
    assert answer is not None
    return answer


class Skipping(SystemClock):
    """The machine's own, but that a wait may be skipped."""

    def __init__(self) -> None:
        self.skips, self.skipped_s = True, 0.0

    def now_s(self) -> float:
        return super().now_s() + self.skipped_s

    def sleep_s(self, seconds: float) -> None:
        if self.skips:
            self.skipped_s += seconds
        else:
            super().sleep_s(seconds)


def test_a_server_that_is_killed_is_left_alone_and_found_when_it_is_back() -> None:
    clock = Skipping()
    with killable() as (address, process):
        client = CloudClient(address, clock=clock, rng=random.Random(1))
        ask(client)
        process.kill()
        process.join()
        reasons = []
        for _ in range(10):
            with pytest.raises(CloudError) as caught:
                ask(client)
            reasons.append(caught.value.reason)
    assert reasons == ["UNAVAILABLE"] * 3 + ["CIRCUIT_OPEN"] * 7
    with killable(address):
        clock.sleep_s(1.2)  # the longest that the first back-off is
        clock.skips = False  # gRPC dials when it will
        ask(client)
        ask(client)
    client.close()


@contextmanager
def far_away(upstream: str, rtt_ms: float) -> Iterator[str]:
    """The simulator's proxy before a server; gives its address."""
    profile = Profile(name="far", rtt_ms=rtt_ms, down_mbps=None, up_mbps=None, source="this test")
    listening, over = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def main() -> None:
        async with Proxy(profile, Address("127.0.0.1", 0), parse_address(upstream)) as proxy:
            found.extend([asyncio.get_running_loop(), str(proxy.address)])
            listening.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert listening.wait(60)
    try:
        yield found[1]
    finally:
        found[0].call_soon_threadsafe(over.set)
        thread.join()


RTT_MS = 1500.0


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_second_way_is_taken_where_the_first_is_long(replicas: int) -> None:
    first, second = Quick(0.5), Quick(0.5)
    with (
        served(backend=first) as address,
        served(backend=second) as another,
        far_away(address, RTT_MS) as far,
    ):
        near = address if replicas == 1 else another
        plain, hedged = CloudClient(far), CloudClient(far, hedge=Hedge(0.05, near))
        try:
            slow, quick = ask(plain), ask(hedged)
            assert (slow.attempts, quick.attempts) == (1, 2)
            assert slow.round_trip_s > RTT_MS / 1e3
            assert quick.round_trip_s < slow.round_trip_s
            assert quick.bytes_up == 2 * slow.bytes_up
            computed_before = 1 + (replicas == 1)
            assert first.computed + second.computed >= computed_before
            # Over both ways to one server a query is computed once.
            assert replicas == 2 or first.computed == 2
        finally:
            plain.close()
            hedged.close()


IDLE_S = 2.5


@pytest.mark.slow
@pytest.mark.parametrize("pings", [True, False])
def test_a_long_answer_comes_through_a_middlebox_that_forgets_idle_connections(
    monkeypatch: pytest.MonkeyPatch, pings: bool
) -> None:
    """Scaled: minutes are seconds here. Without a ping in time it is asked again by its id."""
    # gRPC pings once a second at most.
    monkeypatch.setattr(channel, "PING_AFTER_S", 1.01 if pings else 1.2 * IDLE_S)
    monkeypatch.setattr(channel, "PONG_WITHIN_S", 1.0)
    backend = Quick(3 * IDLE_S)
    with served(backend=backend) as address, relay_to(address, idle_s=IDLE_S) as relay:
        client = CloudClient(relay.address, deadline_s=60.0)
        answer = ask(client)
        client.close()
    assert backend.computed == 1
    assert (answer.attempts == 1) is pings
    assert (relay.dialled == 1) is pings
