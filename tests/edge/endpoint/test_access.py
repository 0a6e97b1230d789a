"""Who may ask an endpoint, where it may listen, and files that change under it."""

from __future__ import annotations

import logging
import os
import ssl
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from authority import Authority, Pair, needs_openssl

from escalade.edge.endpoint import EndpointOptions, Listening
from escalade.edge.endpoint.web.server import bind, server_of
from escalade.edge.errors import EndpointError
from escalade.v1.address import Address

TOKEN = "sesame"  # noqa: S105


def test_without_a_token_this_machine_alone_is_answered(serve: Any) -> None:
    served = serve()
    for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"):
        assert served.call("GET", "/v1/models", host=host).status == 200, host
    for host in ("evil.example", "localhost.evil.example:8080", "10.0.0.1", ""):
        reply = served.call("GET", "/v1/models", host=host)
        assert (reply.status, reply.error["code"]) == (403, "unknown_host"), host


def test_with_a_token_it_is_asked_for(serve: Any) -> None:
    served = serve(options=EndpointOptions(token=TOKEN))
    assert served.call("GET", "/health", host="pi.example").status == 200
    for shown in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic sesame"}):
        reply = served.call("GET", "/v1/models", **shown)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        assert reply.error["type"] == "authentication_error"
    for scheme in ("Bearer", "bearer"):
        reply = served.call(
            "GET", "/v1/models", host="pi.example", authorization=f"{scheme} sesame"
        )
        assert reply.status == 200


def test_pages_of_other_sites_are_asked_about(serve: Any) -> None:
    served = serve(options=EndpointOptions(origins=("https://chat.example",)))
    asks = {"access_control_request_method": "POST", "access_control_request_headers": "x"}
    there = served.call("OPTIONS", "/v1/completions", origin="https://evil.example", **asks)
    assert there.status == 400
    here = served.call("GET", "/v1/models", origin="https://chat.example")
    assert here.headers["access-control-allow-origin"] == "https://chat.example"
    assert "x-escalade-tier" in here.headers["access-control-expose-headers"]
    plain = serve().call("OPTIONS", "/v1/completions", origin="https://chat.example", **asks)
    assert "access-control-allow-origin" not in plain.headers


@pytest.mark.parametrize("origin", ["*", "https://chat.example/", "chat.example", "null"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(EndpointError, match="allow-origin must be a page's scheme, host and port"):
        EndpointOptions(origins=(origin,))


@pytest.mark.parametrize(
    ("host", "options", "says"),
    [
        (str(IPv4Address(0)), EndpointOptions(), "a token (--token-file) and TLS"),
        ("::", EndpointOptions(token=TOKEN), "without TLS"),
        ("example.org", EndpointOptions(), "host example.org"),
        ("192.0.2.1", EndpointOptions(token=TOKEN), "--tls-cert"),
    ],
)
def test_off_loopback_it_wants_a_token_and_tls(
    host: str, options: EndpointOptions, says: str
) -> None:
    with pytest.raises(EndpointError) as refused:
        bind(Listening(address=Address(host, 0)), options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_port_that_is_taken_is_said(serve: Any) -> None:
    served = serve()
    with pytest.raises(EndpointError, match=f"{served.address}: cannot be listened at"):
        bind(Listening(address=served.address), EndpointOptions())


def test_a_certificate_that_is_none_is_said(serve: Any, tmp_path: Path) -> None:
    served = serve().served
    where = Listening(address=Address("127.0.0.1", 0), tls_cert=tmp_path / "no.pem")
    with pytest.raises(EndpointError, match="--tls-key"):
        server_of(served, EndpointOptions(), where, lambda: None)
    both = Listening(address=where.address, tls_cert=where.tls_cert, tls_key=tmp_path / "no.key")
    with pytest.raises(EndpointError, match="do not load"):
        server_of(served, EndpointOptions(), both, lambda: None)


@needs_openssl
def test_a_changed_certificate_is_followed_and_half_a_one_is_not(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(pair: Pair, *, whole: bool = True) -> str:
        cert.write_bytes(pair.cert.read_bytes())
        if whole:
            key.write_bytes(pair.key.read_bytes())
        return pair.cert.read_text()

    first = put(authority.issue("first"))
    now_s, ready = [0.0], Event()
    where = Listening(address=Address("127.0.0.1", 0), tls_cert=cert, tls_key=key)
    bound = bind(where, EndpointOptions())

    def shown() -> str:
        return ssl.get_server_certificate(bound.getsockname(), timeout=30)

    server = server_of(serve().served, EndpointOptions(), where, ready.set, now_s=lambda: now_s[0])
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    with bound, caplog.at_level(logging.INFO, "escalade.edge.endpoint"):
        thread.start()
        assert ready.wait(30)
        try:
            assert shown().split() == first.split()
            half = authority.issue("second")
            put(half, whole=False)
            now_s[0] += 2.0
            while not any("what was read before stands" in one for one in caplog.messages):
                Event().wait(0.01)
            assert shown().split() == first.split()
            second = put(half)
            now_s[0] += 2.0
            while not any("read again" in one for one in caplog.messages):
                Event().wait(0.01)
            assert shown().split() == second.split()
        finally:
            server.should_exit = True
            thread.join(60)


def test_a_changed_file_is_said_and_not_followed(
    serve: Any, cascade_file: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path, now_s = cascade_file(), [0.0]
    served = serve(path=path, now_s=lambda: now_s[0])
    before = served.chat()
    path.write_text(path.read_text().replace("threshold = 1000000000.0", "threshold = -1.0"))
    os.utime(path, (1, 1))
    assert "x-escalade-cascade-changed" not in served.chat().headers  # no second has gone by
    now_s[0] = 2.0
    with caplog.at_level(logging.WARNING, "escalade.edge.endpoint"):
        after = [served.chat() for _ in range(2)]
    assert all(one.headers["x-escalade-cascade-changed"] == "true" for one in after)
    assert all(one.choice["message"] == before.choice["message"] for one in after)
    assert all(one.choice["escalade"]["threshold"] == 1e9 for one in after)
    assert served.call("GET", "/health").json["cascade_changed"] is True
    assert len([one for one in caplog.records if "was changed" in one.message]) == 1
