"""Listens: a socket, TLS, signals, and an end that cuts no answer short; knows no route."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from escalade.edge.endpoint.certificates import Certificate
from escalade.edge.endpoint.served_cascade import ServedCascade
from escalade.edge.endpoint.web.app import Endpoint, EndpointOptions, with_origins
from escalade.edge.endpoint.web.connection import BoundedProtocol
from escalade.edge.errors import EndpointError
from escalade.v1.address import Address, is_loopback

# Connections that the kernel holds until they are taken, as uvicorn has it.
_BACKLOG = 2048
# After the grace, for threads to notice and for what is told to be sent.
_NOTICE_S = 10
_KEEP_ALIVE_S = 75  # nginx's; uvicorn's 5 s makes clients dial anew between two questions


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where an endpoint listens."""

    address: Address
    #: Certificates and private key (PEM), followed when they change; None: in the clear.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    #: Seconds that an end waits for open requests.
    grace_s: float = 30.0


class Server(uvicorn.Server):
    """uvicorn's, with an end of our own."""

    def __init__(
        self,
        config: uvicorn.Config,
        endpoint: Endpoint,
        grace_s: float,
        ready: Callable[[], None],
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(config)
        self._endpoint, self._grace_s, self._ready = endpoint, grace_s, ready
        self._certificate = certificate

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when requests are taken."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look after what changes while it runs."""
        if self._certificate is not None:
            self._certificate.follow()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more; after the grace, end what is under way by telling it so."""
        timer = asyncio.get_running_loop().call_later(self._grace_s, self._endpoint.asking.end)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
            self._endpoint.asking.end()
            await asyncio.to_thread(self._endpoint.asking.close)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn, but that the process ends well by a signal that it was told to end by."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(listening: Listening, options: EndpointOptions) -> socket.socket:
    """Bind, where that may be: off loopback with a token and TLS alone.

    Raises:
        EndpointError: it may not, or cannot.
    """
    host, port = listening.address
    if not is_loopback(host):
        lacks = [
            what
            for what, there in (
                ("a token (--token-file)", options.token is not None),
                ("TLS (--tls-cert, --tls-key)", listening.tls_cert is not None),
            )
            if not there
        ]
        if lacks:
            raise EndpointError(
                f"host {host}: without {' and '.join(lacks)} only a loopback address (127.0.0.1,"
                " ::1, localhost) is listened at"
            )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
            said = os.strerror(error.errno)  # to which Python adds the address, as a tuple
        raise EndpointError(f"{listening.address}: cannot be listened at: {said}") from error


def server_of(
    served: ServedCascade,
    options: EndpointOptions,
    listening: Listening,
    ready: Callable[[], None],
    *,
    now_s: Callable[[], float] = time.monotonic,
) -> Server:
    """A server that is not started.

    Args:
        served: who answers.
        options: how.
        listening: where.
        ready: called once requests are taken.
        now_s: seconds, monotonic: when the certificate's files are looked at.

    Raises:
        EndpointError: its certificate or key does not load.
    """
    cert, key = listening.tls_cert, listening.tls_key
    if (cert is None) != (key is None):
        missing = "--tls-cert" if cert is None else "--tls-key"
        raise EndpointError(f"{missing}: a certificate goes with its key")
    certificate = None
    if cert is not None and key is not None:
        certificate = Certificate(cert, key, now_s)
    endpoint = Endpoint(served, options)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is theirs
    config = uvicorn.Config(
        with_origins(endpoint, options.origins),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(listening.grace_s) + _NOTICE_S,
    )
    config.load()
    if certificate is not None:
        config.ssl = certificate.context
    return Server(config, endpoint, listening.grace_s, ready, certificate)


def run_endpoint(
    served: ServedCascade,
    options: EndpointOptions,
    listening: Listening,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what is under way, and end.

    Args:
        served: who answers.
        options: how.
        listening: where.
        on_ready: given the URL that clients take as their base, once requests are taken.

    Raises:
        EndpointError: see `bind` and `server_of`.
    """
    bound = bind(listening, options)
    with bound:
        at = Address(listening.address.host, bound.getsockname()[1])
        scheme = "http" if listening.tls_cert is None else "https"
        server = server_of(served, options, listening, lambda: on_ready(f"{scheme}://{at}/v1"))
        server.run(sockets=[bound])
