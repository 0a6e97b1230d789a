"""One connection of HTTP/1.1, with bounds on heads, on readers, and on silence; knows no route.

uvicorn's own protocol waits for ever for the rest of a head, and for a reader that takes nothing;
and it takes a client that has only ended its own half for one that has left.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from escalade.edge.endpoint.openai import error_body
from escalade.edge.endpoint.web.responding import send_error
from escalade.edge.errors import RefusedError

#: Bytes of one request's line and headers; h11's own number.
MOST_HEAD_BYTES = 64 << 10
#: Beyond, a request is told to come again: a process has a thousand files as a rule.
MOST_CONNECTIONS = 900
#: Seconds from the connection, or from a request's first byte, to the end of its headers.
HEAD_S = 10.0
#: Seconds that a reader may take nothing while there is something for it.
READER_S = 60.0
# Of a client that has ended its half: the second write to one that has left fails.
_PROBE_S = 0.5
# Java's client and `curl --http2` offer HTTP/2 so, which a server may pass over (RFC 9110, section
# 7.8); the parser would take the body for that of another protocol.
_UPGRADE = re.compile(rb"(?i)(?<=\n)upgrade:")
_PASSED_OVER = b"x-upgrade:"
_END_OF_HEAD = b"\r\n\r\n"
# What clients skip before an answer (RFC 9110, section 15.2), http.client of Python among them.
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """See the module."""

    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _probe_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        for timer in (self._timer, self._reader_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._reader_timer = self._probe_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not self._in_head:
            self._wait_for_head()
        if idle or self._in_head:
            head, end, rest = data.partition(_END_OF_HEAD)
            data = _UPGRADE.sub(_PASSED_OVER, head) + end + rest
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(431, "headers_too_large", f"at most {MOST_HEAD_BYTES} bytes of head")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if len(self.connections) > MOST_CONNECTIONS:
            self.app = _crowded
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in JSON too."""
        self._refuse(400, "invalid_http", msg)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client has ended its half, or has left: the answer tells."""
        cycle = self.cycle
        waits = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not waits or self.scheme != "http" or self.scope.get("http_version") != "1.1":
            return None
        cycle.keep_alive = False
        self._probe()
        return True

    def pause_writing(self) -> None:
        """The reader is behind."""
        self._reader_timer = self.loop.call_later(READER_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
        super().resume_writing()

    def _wait_for_head(self) -> None:
        if self._timer is None:
            self._timer = self._later(HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head:
            self._refuse(408, "request_timeout", f"the head did not come within {HEAD_S:g} s")
        else:
            self.transport.close()

    def _probe(self) -> None:
        """Write what a client skips, until the answer begins: one that has left resets it."""
        if self.cycle.response_started or self.transport.is_closing():
            return
        self.transport.write(_PROBE)
        self._probe_timer = self._later(_PROBE_S, self._probe)

    def _later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, call)

    def _refuse(self, status: int, code: str, message: str) -> None:
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if not (busy and self.cycle.response_started):  # half an answer is no place for another
            body = error_body(RefusedError(status, code, message))
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                "content-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    message = f"{MOST_CONNECTIONS} connections are open; try again later"
    error = RefusedError(503, "too_many_connections", message, retry_after_s=1)
    await send_error(send, error, headers=[(b"connection", b"close")])
