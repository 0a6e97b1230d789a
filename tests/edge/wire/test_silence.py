"""Connections that die in silence, on real sockets and in a network of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from relay import Relay, relay_to
from scripted import good_reply, scripted

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.edge.wire.sending import CloudAnswer
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import channel

PATIENT_S = 30.0


@pytest.fixture
def relay(scripted_cloud: Any) -> Iterator[Relay]:
    with relay_to(scripted_cloud.address) as relay:
        yield relay


@pytest.fixture
def connect(relay: Relay) -> Iterator[Callable[..., CloudClient]]:
    made: list[CloudClient] = []

    def make(**options: Any) -> CloudClient:
        made.append(CloudClient(relay.address, **{"deadline_s": PATIENT_S, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(client: CloudClient, deadline_s: float | None = None) -> CloudAnswer:
    answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")), deadline_s=deadline_s)
    assert answer is not None
    return answer


def test_a_dead_connection_costs_one_deadline(
    connect: Callable[..., CloudClient], relay: Relay
) -> None:
    client = connect()
    for times in (1, 2, 3):
        ask(client)
        assert relay.dialled == times
        relay.forget()
        with pytest.raises(CloudError, match=r"no answer within 0.2 s \(1 attempt\)"):
            ask(client, 0.2)
    assert client.model_info().model.name == "scripted-large"


def test_a_connection_that_carries_what_is_no_answer_is_dialled_anew(
    connect: Callable[..., CloudClient], relay: Relay, scripted_cloud: Any
) -> None:
    """A bit that another was sent for: gRPC gives the connection up, and says UNKNOWN."""

    def spoilt(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        relay.spoil()
        return good_reply(request, context)

    scripted_cloud.replies = [spoilt, good_reply]
    answer = ask(connect())
    assert answer.attempts == relay.dialled == 2
    assert scripted_cloud.asked[0] == scripted_cloud.asked[1]


def test_a_connection_that_never_carries_an_answer_is_the_link_s_fault(
    connect: Callable[..., CloudClient], relay: Relay, scripted_cloud: Any, jumping_clock: Any
) -> None:
    def spoilt(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        relay.spoil()
        return good_reply(request, context)

    scripted_cloud.replies = [spoilt]
    with pytest.raises(CloudError, match=r"\([0-9]+ attempts\)") as caught:
        ask(connect(clock=jumping_clock, deadline_s=3.0))
    assert caught.value.cause == "link"


def test_a_connection_that_pings_costs_none(
    connect: Callable[..., CloudClient], relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PING_AFTER_S", 0.05)
    monkeypatch.setattr(channel, "PONG_WITHIN_S", 0.2)
    client = connect()
    ask(client)
    relay.forget()
    assert ask(client).attempts > 1
    assert relay.dialled == 2


@pytest.mark.slow
@pytest.mark.parametrize("agreed", [True, False])
def test_both_ends_agree_on_pings(monkeypatch: pytest.MonkeyPatch, agreed: bool) -> None:
    """A server that was not told of them hangs up on who pings so often."""
    monkeypatch.setattr(channel, "PING_AFTER_S", 1.01)  # gRPC pings once a second at most
    waits = threading.Event()

    def hold(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        waits.wait(8.0)
        return good_reply(request, context)

    with scripted(None if agreed else ()) as cloud:
        cloud.replies = [hold, good_reply]
        client = CloudClient(cloud.address)
        assert ask(client).attempts == (1 if agreed else 2)
        client.close()
        waits.set()


def test_of_several_threads_that_wait_in_vain_one_dials(
    connect: Callable[..., CloudClient], relay: Relay
) -> None:
    client = connect()
    ask(client)
    relay.forget()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, client, 0.3) for _ in range(8)]
        for one in asked:
            with pytest.raises(CloudError, match="DEADLINE_EXCEEDED"):
                one.result()
    ask(client)
    assert relay.dialled == 2


def test_a_call_that_is_under_way_on_the_old_line_is_answered(
    connect: Callable[..., CloudClient], relay: Relay, scripted_cloud: Any
) -> None:
    release, arrived = threading.Event(), threading.Event()

    def hold(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        arrived.set()
        assert release.wait(30)
        return good_reply(request, context)

    client = connect()
    ask(client)
    scripted_cloud.replies = [hold]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, client)
        assert arrived.wait(30)
        with pytest.raises(CloudError, match="DEADLINE_EXCEEDED"):
            ask(client, 0.1)
        release.set()
        assert slow.result().attempts == 1
    ask(client)
    assert relay.dialled == 2


def test_a_line_on_which_others_are_answered_is_not_given_up(
    connect: Callable[..., CloudClient], relay: Relay, scripted_cloud: Any
) -> None:
    release, arrived = threading.Event(), threading.Event()

    def hold(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        arrived.set()
        release.wait(30)
        return good_reply(request, context)

    client = connect()
    ask(client)
    scripted_cloud.replies = [good_reply, hold, good_reply]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, client, 0.4)
        assert arrived.wait(30)
        ask(client)
        with pytest.raises(CloudError, match="DEADLINE_EXCEEDED"):
            slow.result()
        release.set()
    ask(client)
    assert relay.dialled == 1


def test_a_short_deadline_does_not_keep_a_slow_link_from_being_made() -> None:
    """Somebody who takes connections and says nothing yet: the dialling goes on."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = CloudClient(f"127.0.0.1:{mute.getsockname()[1]}", deadline_s=0.05)
        for _ in range(6):
            with pytest.raises(CloudError, match=r"no answer within 0.05 s \(1 attempt\)"):
                client.generate(pb.GenerateRequest())
        near, _ = mute.accept()
        mute.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            mute.accept()
        client.close()
        near.close()


def test_a_closed_connection_says_so(connect: Callable[..., CloudClient]) -> None:
    client = connect()
    ask(client)
    client.close()
    with pytest.raises(CloudError, match="CLOSED: .* the connection was closed here"):
        ask(client)


def test_closing_ends_what_is_under_way(
    connect: Callable[..., CloudClient], scripted_cloud: Any
) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def hold(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        context.add_callback(gone.set)
        arrived.set()
        gone.wait(30)
        return pb.GenerateResponse()

    scripted_cloud.replies = [hold]
    client = connect()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, client)
        assert arrived.wait(30)
        client.close()
        with pytest.raises(CloudError, match="CLOSED"):
            asked.result()


IN_A_NETWORK = Path(__file__).with_name("dropped_packets.py")


@pytest.mark.slow
def test_packets_that_are_dropped() -> None:
    """With the real values of `escalade.v1.channel`, in a network namespace of its own."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    ran = subprocess.run(
        ["unshare", "-rn", sys.executable, str(IN_A_NETWORK)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 77:
        pytest.skip(f"this kernel drops no packets of one connection: {ran.stdout.strip()}")
    if ran.stderr.startswith("unshare:"):
        pytest.skip(f"no network namespace to be had: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    # One deadline is lost where it is shorter than the pings take, and none where it is longer.
    assert found["short"] == ["deferred", "lost", "deferred", "deferred"]
    assert found["long"] == ["deferred", "deferred", "deferred"]
    assert found["attempts"] > 1
