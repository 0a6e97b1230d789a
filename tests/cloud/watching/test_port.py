"""The port where metrics are read: exposed only with TLS, and no reader stops another."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, needs_openssl
from prometheus_client import CollectorRegistry, Counter

from escalade.cloud.certificates import TlsFiles
from escalade.cloud.errors import ListenError
from escalade.cloud.watching import WatchOptions
from escalade.cloud.watching.port import MetricsPort


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("tests_total", "Tests.", registry=made).inc()
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
        f" subjectAltName=IP:127.0.0.1 -keyout {files.key} -out {files.cert}".split(),
        check=True,
        capture_output=True,
    )
    return files


def opened(listen: str, registry: CollectorRegistry, tls: TlsFiles | None = None) -> Iterator[str]:
    port = MetricsPort(listen, registry, tls, time.monotonic)
    try:
        yield port.address
    finally:
        port.close()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_it_is_read_on_loopback(
    registry: CollectorRegistry, read_page: Callable[..., str], listen: str
) -> None:
    for address in opened(listen, registry):
        assert address.rpartition(":")[0] == listen.rpartition(":")[0]
        assert "\ntests_total 1.0\n" in read_page(f"http://{address}/metrics")
        # One series alone, as the library offers.
        assert "tests_total" not in read_page(f"http://{address}/metrics?name[]=none")


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9464", "example.org:1"])
def test_elsewhere_it_needs_tls(registry: CollectorRegistry, listen: str) -> None:
    with pytest.raises(ListenError, match=f"metrics {listen}".replace("[", r"\[")) as failure:
        MetricsPort(listen, registry, None, time.monotonic)
    assert "without TLS" in str(failure.value)


@pytest.mark.parametrize("listen", ["", "9464", "127.0.0.1:70000", "a@b:1"])
def test_malformed_addresses_are_refused(registry: CollectorRegistry, listen: str) -> None:
    with pytest.raises(ListenError, match="metrics must be HOST:PORT"):
        MetricsPort(listen, registry, None, time.monotonic)


def test_a_port_in_use_is_named_before_the_model_loads(
    serving: Any, said: Any, registry: CollectorRegistry
) -> None:
    class Unloadable(said):  # type: ignore[misc]
        async def load(self) -> None:
            raise AssertionError("it was loaded")

    async def main(listen: str) -> None:
        async with serving(backend=Unloadable(), watch=WatchOptions(metrics=listen)):
            pass

    for address in opened("127.0.0.1:0", registry):
        with pytest.raises(ListenError, match=f"metrics {address}: cannot be bound"):
            asyncio.run(main(address))


def test_the_servers_certificate_serves_metrics_too(
    serving: Any, said: Any, read_page: Callable[..., str], certificate: TlsFiles
) -> None:
    async def main() -> str:
        lines: list[str] = []
        watch = WatchOptions(metrics="0.0.0.0:0", say=lines.append)
        trusted = ssl.create_default_context(cafile=str(certificate.cert))
        async with serving(backend=said(), listen="127.0.0.1:0", tls=certificate, watch=watch):
            [line] = lines
            assert line.startswith("metrics on https://0.0.0.0:")
            port = int(line.rpartition(":")[2].partition("/")[0])
            url = f"https://127.0.0.1:{port}/metrics"
            # Neither who says nothing nor who speaks no TLS stops the others.
            with socket.create_connection(("127.0.0.1", port)) as silent:
                with socket.create_connection(("127.0.0.1", port)) as plain:
                    plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    plain.settimeout(30)
                    assert b"escalade_" not in plain.recv(99)
                page = await asyncio.to_thread(read_page, url, trusted)
                silent.close()
            return page

    assert "escalade_healthy 1.0" in asyncio.run(main())


@needs_openssl
def test_a_certificate_that_is_rotated_is_shown_to_the_next_reader(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    now_s = 0.0
    authority = Authority(tmp_path)
    tls = TlsFiles(*authority.issue("server"))
    port = MetricsPort("127.0.0.1:0", registry, tls, lambda: now_s)
    reached = ("127.0.0.1", int(port.address.rpartition(":")[2]))
    try:
        before = ssl.get_server_certificate(reached)
        authority.issue("server")
        now_s = 10.0
        after = ssl.get_server_certificate(reached)
    finally:
        port.close()
    assert before != after
    assert after.split() == tls.cert.read_text().split()


def test_a_flood_of_silent_readers_is_bounded(
    registry: CollectorRegistry, read_page: Callable[..., str]
) -> None:
    for address in opened("127.0.0.1:0", registry):
        to = ("127.0.0.1", int(address.rpartition(":")[2]))
        silent = [socket.create_connection(to, timeout=30) for _ in range(8)]
        one_more = socket.create_connection(to, timeout=30)
        with one_more, suppress(ConnectionResetError):
            assert one_more.recv(1) == b""
        for one in silent:
            one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert one.makefile("rb").read().startswith(b"HTTP/1.0 200")
            one.close()
        # The last of their threads may not be over yet.
        for _ in range(1000):
            try:
                page = read_page(f"http://{address}/metrics")
                break
            except OSError:
                continue
        assert "tests_total 1.0" in page
