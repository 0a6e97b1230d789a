"""A port of its own on which metrics are read over HTTP, with TLS off loopback; knows no metric."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from escalade.cloud.backends import Clock
from escalade.cloud.certificates import TlsFiles, follow
from escalade.cloud.errors import ListenError
from escalade.cloud.listen import check_exposure
from escalade.v1.address import Address, parse_address

# Whoever asks has so long to say what; Prometheus itself gives up after 10 s by default.
_ASKED_WITHIN_S = 10.0
# Readers at one time. A Prometheus is one, and a pair of them two; each takes a thread.
_MOST_READERS = 8


class MetricsPort:
    """Answers with a registry's metrics, in threads of its own.

    `prometheus_client.start_http_server` would do, but that one client which begins no TLS
    handshake stops it for all, and that it never hangs up.

    Args:
        listen: `HOST:PORT`; port 0 takes a free one.
        registry: what is read.
        tls: certificate and key, known to load; needed off loopback.
        clock: seconds, monotonic.
        beside: the address of the server that is watched, which may be the same by mistake.

    Raises:
        ListenError: malformed, not loopback without TLS, or cannot be bound.
    """

    def __init__(
        self,
        listen: str,
        registry: CollectorRegistry,
        tls: TlsFiles | None,
        clock: Clock,
        *,
        beside: str = "",
    ) -> None:
        try:
            address = parse_address(listen, least_port=0)
        except ValueError as error:
            raise ListenError(f"metrics {error}") from error
        check_exposure("metrics", listen, address, tls)
        kind = _ServerOfIPv6 if ":" in address.host else _Server
        try:
            self._server = kind((address.host, address.port), _Handler)
        except OSError as error:
            taken = beside.endswith(f":{address.port}") and error.errno == errno.EADDRINUSE
            why = f"the server itself listens on {beside}" if taken else error.strerror
            raise ListenError(f"metrics {listen}: cannot be bound: {why}") from error
        self._server.set_app(make_wsgi_app(registry))
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._server.look = follow(context, tls, clock)
            # The handshake is made in the reader's thread, and has its time limit.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        #: With its real port.
        self.address = str(Address(address.host, self._server.server_port))
        Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Take no more readers."""
        self._server.shutdown()
        self._server.server_close()


# What the library's types say of a request, which of a datagram is one.
_Request = socket.socket | tuple[bytes, socket.socket]


class _Handler(WSGIRequestHandler):
    """Hangs up on who says nothing, and logs no reader."""

    timeout = _ASKED_WITHIN_S

    def handle(self) -> None:
        with suppress(OSError):  # a reader that has gone, or speaks no TLS
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Or it keeps every thread that ever was.
    block_on_close = False
    #: Called before each handshake.
    look: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._free = BoundedSemaphore(_MOST_READERS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        self.look()
        return super().get_request()

    def process_request(self, request: _Request, client_address: object) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6
