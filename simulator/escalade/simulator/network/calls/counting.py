"""Counts the bytes of a call, messages and on the wire; knows no channel.

On the wire is an estimate: what gRPC and HTTP/2 add on a warm connection. The first call of a
connection sends some 300 bytes more up and 160 down; those, pings, TLS, TCP and IP are not counted.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import Message


class CallBytes(NamedTuple):
    """What one call has moved, as far as it went.

    Attributes:
        method: as gRPC names it, `/PACKAGE.SERVICE/METHOD`.
        code: how it ended, gRPC's name.
        seconds: on the network's clock, from the call to its end.
        messages_down: of a stream; 1 of an answer, 0 without one. Up there is 1.
        payload_up: bytes of the message, serialized.
        payload_down: of all messages that came.
        wire_up: with what gRPC adds; 0 where it did not leave.
        wire_down: the same.
    """

    method: str
    code: str
    seconds: float
    messages_down: int
    payload_up: int
    payload_down: int
    wire_up: int
    wire_down: int


def size_of(message: object) -> int:
    """Bytes of a message, serialized.

    Raises:
        TypeError: it is neither protobuf's nor bytes.
    """
    if isinstance(message, Message):
        return message.ByteSize()
    if isinstance(message, bytes):
        return len(message)
    raise TypeError(f"a message must be protobuf's or bytes; got {type(message).__name__}")
