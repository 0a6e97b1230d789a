"""Proxies of the environment: other hosts are reached through them, this machine never is."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from escalade.edge.errors import StoreError
from escalade.edge.store.sources import source_at


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a server of files."""
    (tmp_path / "manifest.json").write_text("here")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_what_is_here_is_fetched_directly(proxy_asked: list[str], port: int, host: str) -> None:
    with source_at(f"http://{host}:{port}").open("manifest.json", 0) as (stream, _):
        assert stream.read() == b"here"
    assert proxy_asked == []


def test_what_is_elsewhere_goes_through_the_proxy(proxy_asked: list[str]) -> None:
    with (
        pytest.raises(StoreError, match="cannot be fetched"),
        source_at("https://192.0.2.1/a").open("manifest.json", 0),
    ):
        pass
    assert proxy_asked == ["CONNECT 192.0.2.1:443"]
