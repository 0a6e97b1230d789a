"""A port for browsers beside a gRPC server: binds it, with TLS off loopback; knows no RPC.

uvicorn speaks HTTP, starlette answers what a browser asks before it lets a page call (CORS).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from escalade.cloud.backends import Clock
from escalade.cloud.certificates import TlsFiles, follow
from escalade.cloud.errors import ListenError
from escalade.cloud.listen import check_exposure
from escalade.cloud.web.bridge import PASSED, Bridge
from escalade.v1.address import Address, parse_address
from escalade.v1.origin import check_origin

if TYPE_CHECKING:
    import uvicorn

# Seconds a browser may remember what it was told of CORS; Chromium's own most.
_REMEMBERED_S = 7200
# Of a connection without requests.
_IDLE_S = 75
# Connections at one time: each is a few kilobytes and a task.
_MOST_CONNECTIONS = 512
# Of a path of a Unix socket (sun_path), with its end.
_MOST_PATH_BYTES = 107
# After an end, what is still on its way.
_FLUSH_S = 1
# Ticks of uvicorn, ten a second, between looks at the certificates.
_LOOK_EVERY = 10

_SENT = ("authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent")
_TOLD = ("grpc-status", "grpc-message", "grpc-status-details-bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """What an operator says of browsers.

    Attributes:
        listen: `HOST:PORT`; port 0 takes a free one.
        origins: of the pages that may call, e.g. `https://example.org`; none is the default.

    Raises:
        ListenError: an origin is none.
    """

    listen: str
    origins: Collection[str] = ()

    def __post_init__(self) -> None:
        for origin in self.origins:
            try:
                check_origin(origin)
            except ValueError as error:
                raise ListenError(f"allow-origin {error}") from error


class WebListener:
    """Browsers' way to a gRPC server of this process.

    Args:
        options: see `WebOptions`.
        tls: certificate and key, known to load; needed off loopback.
        clock: seconds, monotonic; by it the certificates are looked after.
        services: names of those that browsers may call.
        request_s: seconds in which a client must send its request.

    Raises:
        ListenError: malformed, not loopback without TLS, cannot be bound, a package is missing, or
            clients are asked for certificates, which a page's requests do not show.
    """

    def __init__(
        self,
        options: WebOptions,
        tls: TlsFiles | None,
        clock: Clock,
        *,
        services: Collection[str],
        request_s: float,
    ) -> None:
        # First: who lacks them need not wait for a model to be told so.
        try:
            import uvicorn
            from starlette.middleware.cors import CORSMiddleware
        except ModuleNotFoundError as error:
            raise ListenError(
                f"web {options.listen} needs {error.name}: pip install 'escalade[web]'"
            ) from error

        self._options = options
        address = _address(options.listen, tls)
        context, look = _context(tls, clock)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            self._socket = socket.create_server((address.host, address.port), family=family)
        except OSError as error:
            raise ListenError(f"web {options.listen}: cannot be bound: {error.strerror}") from error
        scheme = "http" if tls is None else "https"
        #: With its real port.
        self.url = f"{scheme}://{Address(address.host, self._socket.getsockname()[1])}"
        # For this user alone: whoever can write to it says whose a request is.
        self._folder = tempfile.mkdtemp(prefix="escalade-")
        self._path = str(Path(self._folder, "web"))
        self._channel = grpc.aio.insecure_channel(
            f"unix:{self._path}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        origins = list(options.origins)
        config = uvicorn.Config(
            CORSMiddleware(
                Bridge(self._channel, services, origins, request_s=request_s),
                allow_origins=origins,
                allow_methods=["POST"],
                allow_headers=[*_SENT, *PASSED],
                expose_headers=_TOLD,
                max_age=_REMEMBERED_S,
            ),
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_FLUSH_S,
        )
        config.load()
        config.ssl = context
        self._server = _server_of(config, look)
        self._task: asyncio.Task[None] | None = None

    def attach(self, server: grpc.aio.Server) -> None:
        """Give a server that has not started the socket that browsers' requests come by.

        Raises:
            ListenError: it cannot be bound.
        """
        if len(self._path.encode()) >= _MOST_PATH_BYTES:
            raise ListenError(
                f"web {self._options.listen}: TMPDIR is too long for a socket in it, at most"
                f" {_MOST_PATH_BYTES} bytes, got {self._path!r}"
            )
        try:
            server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as error:
            raise ListenError(f"web {self._options.listen}: {self._path}: {error}") from error

    def start(self) -> None:
        """Take requests; the server that it is attached to has started."""
        self._task = asyncio.create_task(self._server.serve([self._socket]))

    async def close(self) -> None:
        """Take no more, and let what is under way end."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        await self._channel.close()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _address(listen: str, tls: TlsFiles | None) -> Address:
    try:
        address = parse_address(listen, least_port=0)
    except ValueError as error:
        raise ListenError(f"web {error}") from error
    check_exposure("web", listen, address, tls)
    if tls is not None and tls.client_ca is not None:
        raise ListenError(
            f"web {listen}: clients' certificates are not asked for there; leave --client-ca out,"
            " and give --tokens"
        )
    return address


def _context(
    tls: TlsFiles | None, clock: Clock
) -> tuple[ssl.SSLContext | None, Callable[[], None]]:
    """What a handshake is made with, and what is called now and then to renew it."""
    if tls is None:
        return None, lambda: None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    look = follow(context, tls, clock)
    look()
    return context, look


def _server_of(config: uvicorn.Config, look: Callable[[], None]) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to the process that it is a part of."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def on_tick(self, counter: int) -> bool:
            if counter % _LOOK_EVERY == 0:
                look()
            return await super().on_tick(counter)

    return Server(config)
