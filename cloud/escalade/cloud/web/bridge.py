"""Hands a browser's request to the gRPC server of this process, as it is; knows no message.

A request over HTTP becomes the same RPC over a socket of this process's own, so that whatever
stands before the service (tokens, quotas, metrics, drains) stands before browsers too. Bytes are
not parsed on the way: there is one contract and one place that holds requests to it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

import grpc
import grpc.aio

from escalade.cloud.rpcs import PEER_KEY
from escalade.cloud.web.frames import (
    MOST_BYTES,
    Metadata,
    message_frame,
    message_of,
    timeout_s_of,
    trailers_frame,
)

#: ASGI's own types.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TYPES = ("application/grpc-web+proto", "application/grpc-web")
#: Headers that are handed on.
PASSED = ("authorization", "traceparent", "tracestate")
# HTTP's own words for what is no RPC at all.
_BAD, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 400, 403, 404, 405
_TIMEOUT, _TOO_LARGE, _WRONG_TYPE = 408, 413, 415
_PATH = re.compile(r"/([A-Za-z0-9_.]+)/[A-Za-z0-9_]+", re.ASCII)
# A frame's flag and length.
_HEAD_BYTES = 5


class Bridge:
    """An ASGI application in front of a gRPC channel.

    Args:
        channel: of the server of this process.
        services: full names of those that browsers may call.
        origins: of pages that may call; of a request that names another nothing is done.
        request_s: seconds in which a client must send its request.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        services: Collection[str],
        origins: Collection[str],
        *,
        request_s: float,
    ) -> None:
        self._channel = channel
        self._services, self._origins = frozenset(services), frozenset(origins)
        self._request_s = request_s

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        status, why = self._refusal(scope, headers)
        if status:
            await _plain(send, status, why)
            return
        try:
            body = await self._body(receive)
        except TimeoutError:
            await _plain(send, _TIMEOUT, f"request: not sent within {self._request_s:g} s")
            return
        if body is None:
            return
        if len(body) > MOST_BYTES + _HEAD_BYTES:
            await _plain(send, _TOO_LARGE, f"request: must have at most {MOST_BYTES} bytes")
            return
        await _begin(send)
        try:
            request, timeout_s = message_of(body), timeout_s_of(headers.get("grpc-timeout", ""))
        except ValueError as error:
            await _end(send, grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        metadata = [(key, headers[key]) for key in PASSED if key in headers]
        metadata.append((PEER_KEY, _peer(scope)))
        await self._call(scope["path"], request, timeout_s, metadata, receive, send)

    def _refusal(self, scope: Message, headers: Mapping[str, str]) -> tuple[int, str]:
        """Why a request is not one that browsers may make; 0 where it is."""
        path: str = scope["path"]
        origin = headers.get("origin")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        found = _PATH.fullmatch(path)
        if origin is not None and origin not in self._origins:
            return _FORBIDDEN, "origin: not one of those that this server allows (--allow-origin)"
        if found is None or found[1] not in self._services:
            return _NOT_FOUND, "path: must be /SERVICE/METHOD of a service of this server"
        if scope["method"] != "POST":
            return _NOT_ALLOWED, "method: must be POST"
        if kind not in _TYPES:
            return _WRONG_TYPE, f"content-type: must be {_TYPES[0]}"
        for key in PASSED:
            value = headers.get(key, "")
            if not (value.isascii() and value.isprintable()):
                return _BAD, f"{key}: must be printable ASCII"
        return 0, ""

    async def _body(self, receive: Receive) -> bytes | None:
        """What was sent, up to a little more than is taken; None where the client has gone.

        Raises:
            TimeoutError: it took too long.
        """
        body = bytearray()
        async with asyncio.timeout(self._request_s):
            while len(body) <= MOST_BYTES + _HEAD_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
        return bytes(body)

    async def _call(
        self,
        path: str,
        request: bytes,
        timeout_s: float | None,
        metadata: list[tuple[str, str]],
        receive: Receive,
        send: Send,
    ) -> None:
        # On the wire a unary RPC is a stream of one message: both are the same here.
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(path)
        call = method(request, timeout=timeout_s, metadata=grpc.aio.Metadata(*metadata))

        async def watch() -> None:
            """End the RPC where its reader goes."""
            while (await receive())["type"] != "http.disconnect":
                pass
            call.cancel()

        watching = asyncio.create_task(watch())
        try:
            try:
                async for message in call:
                    await _more(send, message_frame(message))
            except grpc.aio.AioRpcError:
                pass  # the trailers say so
            except asyncio.CancelledError:
                if not call.cancelled():
                    raise  # it is this task that ends
            code, details = await call.code(), await call.details()
            trailing = _trailing(await call.trailing_metadata())
        finally:
            watching.cancel()
            call.cancel()
        await _end(send, code, details or "", trailing)


def _trailing(metadata: grpc.aio.Metadata | None) -> Metadata:
    """What a server says at the end, in gRPC's words for it but the status, which we write."""
    return [(key, value) for key, value in metadata or () if key != "grpc-status"]


def _peer(scope: Message) -> str:
    """Who asks, as gRPC names a peer."""
    host, port = scope.get("client") or ("", 0)
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


async def _begin(send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", _TYPES[0].encode()), (b"cache-control", b"no-store")],
        }
    )


async def _more(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _end(send: Send, code: grpc.StatusCode, details: str, metadata: Metadata = ()) -> None:
    frame = trailers_frame(code, details, metadata)
    await send({"type": "http.response.body", "body": frame, "more_body": False})


async def _plain(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
