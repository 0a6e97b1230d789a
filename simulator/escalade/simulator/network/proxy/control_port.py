"""The control of a proxy over HTTP, on this machine alone; knows no profile and no socket of it.

GET /state says what is; POST /set, /pause, /resume and /reset change it. Each answers with the
state as JSON, or with `{"error": ...}`. The server is the standard library's: a request now and
then, from this machine, asks for no more, and nothing that a device has installed serves HTTP.

A page in a browser of this machine is not let in: it says where it is from (`Origin`), or calls the
machine by a name of its own (`Host`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from urllib.parse import urlsplit

import msgspec

from escalade.edge.base import explain
from escalade.simulator.errors import ProxyError, SimulatorError
from escalade.simulator.network.proxy.control import Asked, Control, ProxyState
from escalade.v1.address import Address, is_loopback

# Whoever asks has so long to say what, and the proxy to do it.
_WITHIN_S = 10.0
# Whether it is to end; a proxy that is stopped waits for that.
_LOOK_EVERY_S = 0.05
# A profile's fields are shorter.
_MOST_BYTES = 1 << 16
_MOST_DIGITS = 9


class ControlPort:
    """Answers in threads of its own; what it changes is changed in the event loop's."""

    def __init__(self, address: Address, control: Control, loop: asyncio.AbstractEventLoop) -> None:
        """Listen.

        Args:
            address: loopback; port 0 takes a free one.
            control: what is asked.
            loop: whose thread it is for.

        Raises:
            ProxyError: the address is in use or not of this machine.
        """
        try:
            self._server = _Server(address, control, loop)
        except OSError as error:
            raise ProxyError(f"cannot listen on {address} for control: {error.strerror}") from error
        #: With its real port.
        self.address = Address(address.host, self._server.server_port)
        forever = self._server.serve_forever
        Thread(target=forever, args=(_LOOK_EVERY_S,), name="control", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _RefusedError(Exception):
    """Why a request is not served."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Server(ThreadingHTTPServer):
    # Of more than its 5 that come at once the kernel would have the others try again after 1 s.
    request_queue_size = socket.SOMAXCONN

    def __init__(self, address: Address, control: Control, loop: asyncio.AbstractEventLoop) -> None:
        self._control = control
        self._loop = loop
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def after(self, change: Callable[[Control], None]) -> ProxyState:
        """The state after a change."""

        async def changed() -> ProxyState:
            change(self._control)
            return self._control.state()

        return asyncio.run_coroutine_threadsafe(changed(), self._loop).result(_WITHIN_S)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _WITHIN_S
    server_version, sys_version = "escalade", ""

    def handle(self) -> None:
        with suppress(OSError):  # whoever asked has gone
            super().handle()

    def do_GET(self) -> None:
        self._answer({"/state": lambda body: lambda control: None})

    def do_POST(self) -> None:
        self._answer(
            {
                "/set": _setting,
                "/pause": lambda body: Control.pause,
                "/resume": lambda body: Control.resume,
                "/reset": lambda body: Control.reset,
            }
        )

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say as JSON too what the standard library refuses: another method, a line too long."""
        self._say(HTTPStatus(code), _error(message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, known: dict[str, Callable[[bytes], Callable[[Control], None]]]) -> None:
        status, said = HTTPStatus.OK, b""
        try:
            self._check_origin()
            if self.path not in known:
                paths = ", ".join(known)
                raise _RefusedError(
                    HTTPStatus.NOT_FOUND,
                    f"{self.command} must be of one of {paths}; got {self.path[:80]!r}",
                )
            said = msgspec.json.encode(self.server.after(known[self.path](self._body())))
        except _RefusedError as refusal:
            status, said = refusal.status, _error(str(refusal))
        except SimulatorError as error:
            status, said = HTTPStatus.BAD_REQUEST, _error(str(error))
        self._say(status, said)

    def _say(self, status: HTTPStatus, said: bytes) -> None:
        said += b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    def _check_origin(self) -> None:
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        except ValueError:  # brackets
            host = ""
        if "Origin" in self.headers or not is_loopback(host):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "for programs on this machine, not for pages")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        good = length.isascii() and length.isdecimal() and len(length) <= _MOST_DIGITS
        if not good or int(length) > _MOST_BYTES:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"Content-Length must be 0 to {_MOST_BYTES}; got {length[:80]!r}",
            )
        return self.rfile.read(int(length))


def _setting(body: bytes) -> Callable[[Control], None]:
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except msgspec.ValidationError as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, explain(error, body, Asked)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"no JSON: {error}") from error
    return lambda control: control.set(asked)


def _error(said: str) -> bytes:
    return msgspec.json.encode({"error": said})
