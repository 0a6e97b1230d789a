"""Reads a request's body within bounds of size and time; knows no field of it."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from escalade.edge.errors import RefusedError

#: A conversation of a million tokens. What a model takes is less as a rule, and is said when it
#: reads the prompt.
MOST_BYTES = 4 << 20
#: Seconds in which it has to come: 4 MiB over a bad uplink of 1.2 Mbit/s.
BODY_S = 30.0


class GoneError(Exception):
    """The client left before it had sent its request."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The body.

    Raises:
        RefusedError: it is too large, too slow, or no JSON by its type.
        GoneError: see the class.
    """
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        # Also what keeps pages of other sites out: a browser asks before it sends this type.
        shown = kind.decode("ascii", "replace")[:80] or "none"
        raise RefusedError(
            415,
            "unsupported_content_type",
            f"The request needs the header Content-Type: application/json, got {shown}",
        )
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > MOST_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MOST_BYTES:
                    raise _too_large()
                more = message.get("more_body", False)
    except TimeoutError:
        raise RefusedError(
            408, "request_timeout", f"The body did not come within {BODY_S:g} s"
        ) from None
    return b"".join(parts)


def _too_large() -> RefusedError:
    return RefusedError(413, "body_too_large", f"The body must be at most {MOST_BYTES} bytes")
