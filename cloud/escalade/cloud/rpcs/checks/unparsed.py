"""Refuses requests that are no message, or take too much to parse; knows no backend, no gRPC.

A message of 4 MiB may hold two million others, each of 2 bytes on the wire and 60 in memory. What
is too large is looked through, not parsed: enough to name what makes it large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from escalade.cloud.backends import BackendInfo
from escalade.cloud.errors import FieldError, OptionOutOfRangeError, PromptTooLongError
from escalade.cloud.rpcs.checks.sizes import MAX_SCORE_ITEMS, most_request_bytes
from escalade.v1 import cascade_pb2 as pb

# Fields that are looked at, of one message: some 5 ms. One that has more has too many.
_MOST_FIELDS = 10_000
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MORE, _VARINT_BITS = 0x80, 70
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_ITEMS = pb.ScoreRequest.ITEMS_FIELD_NUMBER

T = TypeVar("T")


class Unparsed(NamedTuple):
    """In place of a request that was not parsed: why."""

    error: FieldError


def bounded_parser(
    method: str, parse: Callable[[bytes], T], info: BackendInfo
) -> Callable[[bytes], T | Unparsed]:
    """Parses a method's request where that is no more work than the request deserves.

    Args:
        method: its name in the service.
        parse: the request's `FromString`.
        info: the backend's.
    """

    def parsed(raw: bytes) -> T | Unparsed:
        # Else a client's mistake is a defect of ours to gRPC, with a traceback in the log.
        try:
            return parse(raw)
        except DecodeError as error:
            return Unparsed(
                OptionOutOfRangeError("request", f"must be a message of {method}: {error}")
            )

    if method == "Score":
        return lambda raw: _too_many_items(raw) or parsed(raw)
    most = most_request_bytes(info)
    streamed = method == "GenerateStream"
    descriptor = (pb.GenerateStreamRequest if streamed else pb.GenerateRequest).DESCRIPTOR

    def parse_within(raw: bytes) -> T | Unparsed:
        if len(raw) <= most:
            return parsed(raw)
        return _too_large(raw, cast(Descriptor, descriptor), most)

    return parse_within


def _too_many_items(raw: bytes) -> Unparsed | None:
    if len(raw) <= 2 * MAX_SCORE_ITEMS:  # each takes 2 bytes at least
        return None
    count = 0
    for number, _ in _fields(memoryview(raw)):
        count += number == _ITEMS
        if count > MAX_SCORE_ITEMS:
            return Unparsed(
                OptionOutOfRangeError("items", f"must be 1..{MAX_SCORE_ITEMS} items, got more")
            )
    return None


def _too_large(raw: bytes, descriptor: Descriptor, most: int) -> Unparsed:
    path, size = _largest(memoryview(raw), descriptor)
    field = path.removeprefix("request.") or "request"
    kind = PromptTooLongError if field.startswith("prompt") else OptionOutOfRangeError
    return Unparsed(
        kind(field, f"must fit a whole request of at most {most} bytes, got {size} bytes")
    )


def _largest(raw: memoryview, descriptor: Descriptor) -> tuple[str, int]:
    """Path and bytes of the field that takes most of a message; no path where it is unknown."""
    sizes: Counter[int] = Counter()
    counts: Counter[int] = Counter()
    longest: dict[int, memoryview] = {}
    for looked, (number, value) in enumerate(_fields(raw)):
        sizes[number] += len(value)
        counts[number] += 1
        if len(value) >= len(longest.get(number, b"")):
            longest[number] = value
        if looked > _MOST_FIELDS:
            return _name(descriptor, counts.most_common(1)[0][0]), len(raw)
    if not sizes:
        return "", len(raw)
    number, size = sizes.most_common(1)[0]
    field = descriptor.fields_by_number.get(number)
    if field is None or field.type != FieldDescriptor.TYPE_MESSAGE or not field.message_type:
        return _name(descriptor, number), size
    inner, inner_size = _largest(longest[number], field.message_type)
    return (f"{field.name}.{inner}", inner_size) if inner else (field.name, size)


def _name(descriptor: Descriptor, number: int) -> str:
    field = descriptor.fields_by_number.get(number)
    return "" if field is None else str(field.name)


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field, as far as the message is well-formed."""
    at = 0
    while at < len(raw):
        begin = at
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == _LENGTH:
            length, at = _varint(raw, at)
            begin = at
            at += length
        elif wire == _VARINT:
            _, at = _varint(raw, at)
        elif wire in _FIXED_BYTES:
            at += _FIXED_BYTES[wire]
        else:
            return
        if at > len(raw):
            return
        yield tag >> 3, raw[begin:at]


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends; where it does not, that is behind the message."""
    value = shift = 0
    while at < len(raw) and shift < _VARINT_BITS:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, at
        shift += 7
    return 0, len(raw) + 1
