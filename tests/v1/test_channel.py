"""How both ends hold a connection: pings, proxies, whom gRPC dials, TLS or not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from escalade.v1.address import Address
from escalade.v1.channel import client_options, server_options, speaks_tls, target_of

CA = Path("ca.pem")


def test_a_server_takes_the_pings_of_a_client() -> None:
    client, server = dict(client_options(Address("x", 1))), dict(server_options())
    assert client["grpc.keepalive_time_ms"] > server["grpc.http2.min_ping_interval_without_data_ms"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_reached_through_no_proxy(host: str) -> None:
    assert dict(client_options(Address(host, 1)))["grpc.enable_http_proxy"] == 0


@pytest.mark.parametrize("host", ["cloud.example.org", "192.0.2.1", "localhost.example.org"])
def test_other_hosts_are_reached_as_the_environment_says(host: str) -> None:
    assert dict(client_options(Address(host, 1)))["grpc.enable_http_proxy"] == 1


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (Address("cloud", 1), "dns:///cloud:1"),
        (Address("unix", 80), "dns:///unix:80"),  # no file
        (Address("::1", 5), "dns:///[::1]:5"),
    ],
)
def test_grpc_dials_a_host_and_a_port(address: Address, target: str) -> None:
    assert target_of(address) == target


@pytest.mark.parametrize(
    ("host", "plaintext", "ca_cert", "tls"),
    [
        ("127.0.0.1", None, None, False),
        ("192.0.2.1", None, None, True),
        ("127.0.0.1", None, CA, True),
        ("192.0.2.1", None, CA, True),
        ("127.0.0.1", False, None, True),
        ("127.0.0.1", False, CA, True),
        ("192.0.2.1", True, None, False),
    ],
)
def test_who_speaks_tls(host: str, plaintext: bool | None, ca_cert: Path | None, tls: bool) -> None:
    assert speaks_tls(host, plaintext=plaintext, ca_cert=ca_cert) is tls


def test_certificates_for_plaintext_are_a_contradiction() -> None:
    with pytest.raises(ValueError, match=r"plaintext and certificates \('ca.pem'\) exclude"):
        speaks_tls("127.0.0.1", plaintext=True, ca_cert=CA)


class _Named(grpc.GenericRpcHandler):
    def __init__(self, name: bytes) -> None:
        self._name = name

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._name)


@contextmanager
def replica(host: str, port: int, name: bytes) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Named(name),))
    taken = server.add_insecure_port(f"{host}:{port}")
    server.start()
    yield taken
    server.stop(None).wait()


def test_calls_go_round_between_the_addresses_of_a_name_that_answer() -> None:
    with replica("127.0.0.1", 0, b"a") as port, replica("[::1]", port, b"b"):
        to = Address("localhost", port)
        with grpc.insecure_channel(target_of(to), options=client_options(to)) as channel:
            call = channel.unary_unary("/any/method")
            said: set[bytes] = set()
            until = time.monotonic() + 30  # both are dialled at once, and one is there first
            while len(said) < 2 and time.monotonic() < until:
                said.add(call(b"", wait_for_ready=True, timeout=10))
    assert said == {b"a", b"b"}
