"""Clients that are many, slow, half-closed, gone or up to no good: bounded, and nothing is lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Event
from typing import Any

import pytest

from escalade.edge.endpoint import EndpointOptions
from escalade.edge.endpoint.answering import Places
from escalade.edge.endpoint.web import body, connection
from escalade.edge.errors import RefusedError

NEVER, ALWAYS = 1e9, -1.0


class Gate:
    """A cloud that answers when it is told to."""

    def __init__(self, cloud: Any) -> None:
        from scripted import good_reply

        self.asked, self.answers, self.cancelled = Event(), Event(), Event()

        def reply(request: Any, context: Any) -> Any:
            context.add_callback(self.cancelled.set)
            self.asked.set()
            assert self.answers.wait(30)
            return good_reply(request, context)

        cloud.replies = [reply]


@pytest.fixture
def gate(scripted_cloud: Any) -> Any:
    made = Gate(scripted_cloud)
    yield made
    made.answers.set()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what another thread will do; the test's own timeout ends it."""
    while not holds():
        Event().wait(0.01)


def read_all(one: socket.socket) -> bytes:
    raw = b""
    while more := one.recv(1 << 16):
        raw += more
    return raw


def test_beyond_the_queue_is_told_when_to_come_again(serve: Any, gate: Any) -> None:
    served = serve(ALWAYS, options=EndpointOptions(queue=2))
    with served.connect() as one, served.connect() as other:
        one.sendall(served.asked())
        other.sendall(served.asked())
        eventually(lambda: served.call("GET", "/health").json["under_way"] == 2)
        reply = served.chat()
        assert (reply.status, reply.error["code"]) == (429, "queue_full")
        assert reply.error["type"] == "rate_limit_error"
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert served.complete(["a", "b", "c"]).error["code"] == "too_many_choices"
        gate.answers.set()
        assert b"large answer" in one.recv(1 << 16)
        assert b"large answer" in other.recv(1 << 16)
    assert served.chat().status == 200


def test_beyond_so_many_connections_too(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 2)
    served = serve()
    with served.connect() as one, served.connect() as other:
        for kept in (one, other):
            kept.sendall(served.asked(max_tokens=1))
            assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200")
        reply = served.chat()
        assert (reply.status, reply.error["code"]) == (503, "too_many_connections")
        assert reply.headers["retry-after"] == "1"


def test_places_are_taken_all_or_none() -> None:
    places = Places(3)
    places.take(2)
    with pytest.raises(RefusedError) as refused:
        places.take(2)
    assert (refused.value.status, places.taken) == (429, 2)
    for seconds in (100.0,) * 50:
        places.take(1)
        places.free(seconds)
    assert places.retry_after_s() == 50  # two are under way: one ends each 50 s


def test_who_waits_for_a_person_lends_the_place_and_its_time_is_nobodys() -> None:
    now_s = [0.0]
    places = Places(2, lambda: now_s[0])
    with ExitStack() as asked:
        first = places.take(2)
        for one in first:
            asked.enter_context(one.lent())
        assert (places.taken, places.asking) == (0, 2)
        second = places.take(2)
        with second[0].lent():  # as many as there are places wait already: it keeps its own
            assert (places.taken, places.asking) == (2, 3)
        with pytest.raises(RefusedError):
            places.take(1)
        now_s[0] += 60.0
    assert (places.taken, places.asking) == (4, 0)  # the words are there, and none is lost
    with pytest.raises(RefusedError) as refused:
        places.take(1)
    assert refused.value.status == 429
    for one in first:
        one.free()
    assert (places.taken, places.retry_after_s()) == (2, 1)
    for one in second:
        one.free()
    assert places.taken == 0


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_cancels_the_query_and_frees_its_place(
    serve: Any, gate: Any, stream: bool
) -> None:
    served = serve(ALWAYS)
    with served.connect() as one:
        one.sendall(served.asked(stream=stream, escalade={"stream": "replace"}))
        assert gate.asked.wait(30)
    assert gate.cancelled.wait(30)
    eventually(lambda: served.call("GET", "/health").json["under_way"] == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_who_has_only_ended_its_half_has_its_answer(serve: Any, gate: Any, stream: bool) -> None:
    served = serve(ALWAYS)
    with served.connect() as one:
        one.sendall(served.asked(stream=stream))
        assert gate.asked.wait(30)
        one.shutdown(socket.SHUT_WR)
        gate.answers.set()
        raw = read_all(one)
    while raw.startswith(b"HTTP/1.1 100"):
        raw = raw.partition(b"\r\n\r\n")[2]
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert b"large answer" in raw
    assert raw.count(b"[DONE]") == stream


def test_a_body_too_large_is_not_read(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MOST_BYTES", 1000)
    served = serve()
    reply = served.complete("a" * 2000)
    assert (reply.status, reply.error["code"]) == (413, "body_too_large")
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    with served.connect() as one:
        one.sendall(head + b"Content-Type: application/json\r\n\r\n" + b"7d0\r\n" + b"a" * 2000)
        raw = read_all(one)
    assert raw.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in raw.lower()


def test_a_body_that_does_not_come_is_not_waited_for(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_S", 0.05)
    served = serve()
    with served.connect() as one:
        one.sendall(served.asked()[:-10])
        raw = read_all(one)
    assert raw.startswith(b"HTTP/1.1 408")
    assert json.loads(raw.rpartition(b"\r\n")[2])["error"]["code"] == "request_timeout"


def test_a_head_that_does_not_come_is_not_waited_for(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    with served.connect() as kept:
        kept.sendall(served.asked(max_tokens=1))
        assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(connection, "HEAD_S", 0.05)
        with served.connect() as silent:
            assert read_all(silent) == b""
        # Between two requests one may be silent for longer; but not within a head.
        kept.sendall(served.asked(max_tokens=1))
        assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200")
        kept.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: loc")
        assert read_all(kept).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_refused(serve: Any) -> None:
    served = serve()
    with served.connect() as one:
        one.sendall(b"GET /health HTTP/1.1\r\n")
        raw = b""
        with suppress(ConnectionError):  # it is closed while we still write
            for _ in range(40):
                one.sendall(b"X-Filler: " + b"a" * 8000 + b"\r\n")
            raw = read_all(one)
    assert not raw or raw.startswith(b"HTTP/1.1 431")
    assert served.chat().status == 200


def test_an_offer_of_another_protocol_is_passed_over(serve: Any) -> None:
    """As Java's own client and `curl --http2` make it with every request in the clear."""
    served = serve()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    asked = served.asked(max_tokens=1).replace(b"Content-Type", offer + b"Content-Type", 1)
    with served.connect() as one:
        for _ in range(2):
            one.sendall(asked)
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_refused_in_json(serve: Any) -> None:
    served = serve()
    for garbage in (b"\x16\x03\x01\x02\x00", b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        with served.connect() as one:
            one.sendall(garbage)
            one.shutdown(socket.SHUT_WR)
            raw = read_all(one)
        assert not raw or raw.startswith(b"HTTP/1.1 400")
    assert served.chat().status == 200


def test_a_reader_that_takes_nothing_is_cut_off(
    serve: Any, monkeypatch: pytest.MonkeyPatch, scripted_cloud: Any
) -> None:
    monkeypatch.setattr(connection, "READER_S", 0.05)
    scripted_cloud.says(text="a" * (3 << 20))
    served = serve(ALWAYS)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(30)
        one.connect(served.address)
        one.sendall(served.asked())
        eventually(lambda: served.server.server_state.total_requests > 0)
        eventually(lambda: not served.server.server_state.connections)
    assert served.call("GET", "/health").json["under_way"] == 0


def test_an_end_tells_those_who_wait(serve: Any, gate: Any) -> None:
    served = serve(ALWAYS, listens={"grace_s": 0.0})
    with served.connect() as one, served.connect() as other:
        one.sendall(served.asked())
        other.sendall(served.asked(stream=True, escalade={"stream": "replace"}))
        eventually(lambda: served.call("GET", "/health").json["under_way"] == 2)
        first = other.recv(1 << 16)
        assert first.startswith(b"HTTP/1.1 200")
        served.server.should_exit = True
        raw, streamed = read_all(one), first + read_all(other)
    assert raw.startswith(b"HTTP/1.1 503")
    assert b"shutting_down" in raw
    assert streamed.count(b'"error":') == 1
    assert b"[DONE]" not in streamed
