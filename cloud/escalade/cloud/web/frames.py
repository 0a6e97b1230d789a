"""gRPC-Web's frames, and the trailers that end a response; knows no HTTP, no message.

PROTOCOL-WEB.md of the gRPC repository: a flag, a length, and so many bytes. Trailers are a frame
too, since no browser shows HTTP's own to a page.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterable
from urllib.parse import quote

import grpc

_HEAD = struct.Struct("!BI")
_MESSAGE, _TRAILERS = 0x00, 0x80

# gRPC's own bound on what a server receives, in bytes.
MOST_BYTES = 4 << 20
# Percent-encoding of a grpc-message: what is printable ASCII stays (PROTOCOL-HTTP2.md).
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Metadata = Iterable[tuple[str, str | bytes]]


def message_frame(message: bytes) -> bytes:
    """A message as it is sent."""
    return _HEAD.pack(_MESSAGE, len(message)) + message


def trailers_frame(code: grpc.StatusCode, details: str, metadata: Metadata = ()) -> bytes:
    """The end of a response.

    Args:
        code: how the RPC ended.
        details: in words.
        metadata: keys in lower case; values of `-bin` keys are bytes.
    """
    number: int = code.value[0]
    lines = [f"grpc-status: {number}", f"grpc-message: {quote(details, safe=_PLAIN)}"]
    for key, value in metadata:
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        lines.append(f"{key}: {text}")
    block = "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")
    return _HEAD.pack(_TRAILERS, len(block)) + block


def message_of(body: bytes) -> bytes:
    """The one message of a request.

    Raises:
        ValueError: it is none, or there are several.
    """
    if len(body) < _HEAD.size:
        raise ValueError(f"request: must be one frame of gRPC-Web, got {len(body)} bytes")
    flag, length = _HEAD.unpack_from(body)
    message = body[_HEAD.size :]
    if flag != _MESSAGE:
        raise ValueError(f"request: its frame must be an uncompressed message (0), got flag {flag}")
    if length != len(message):
        raise ValueError(
            f"request: must be one frame of {length} bytes, as it says, got {len(message)}"
        )
    return message


def timeout_s_of(text: str) -> float | None:
    """Seconds of a `grpc-timeout` header; None where there is none.

    Raises:
        ValueError: it is malformed.
    """
    if not text:
        return None
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"grpc-timeout: must be 1 to 8 digits and one of H, M, S, m, u, n, got {text[:40]!r}"
        )
    return int(found[1]) * _UNITS_S[found[2]]
