"""Lines of a trace to bytes and back, numbers that are not finite included; knows no file.

JSON has no NaN and no infinity. A broken model gives both, and its record must be readable all the
same: they are written as the strings `NaN`, `Infinity` and `-Infinity`, which the reader takes
where a number is due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from escalade.edge.trace.schema import Hop, Line, TraceRecord, links_of

L = TypeVar("L", bound=Line)

_ENCODER = msgspec.json.Encoder()
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode_line(line: Line) -> bytes:
    """One line, its newline included."""
    if isinstance(line, TraceRecord) and math.isfinite(_sum(line)):
        return _ENCODER.encode(line) + b"\n"
    return _ENCODER.encode(_named(msgspec.to_builtins(line))) + b"\n"


def decode_line(raw: bytes | msgspec.Raw, kind: type[L]) -> L:
    """What a line holds.

    Raises:
        DecodeError, UnicodeDecodeError: it holds something else.
    """
    return msgspec.json.decode(raw, type=kind, strict=False)


def _sum(record: TraceRecord) -> float:
    """Of all its numbers that need not be finite: only what is not makes it so; a short way."""
    total = record.total_s
    for tier in record.tiers:
        if tier is None:
            continue
        total += tier.seconds + (tier.score or 0.0)
        for member in tier.members:
            total += member.seconds + sum(member.logprobs)
            if member.call is not msgspec.UNSET:
                total += sum(one.seconds for one in member.call.models) + _of_hops(member.call.hops)
        total += _of_hops(tier.hops)
        for link in links_of(tier):
            total += link.round_trip_s + link.server_s
    return total


def _of_hops(hops: Sequence[Hop]) -> float:
    return sum(hop.seconds + (hop.score or 0.0) + (hop.threshold or 0.0) for hop in hops)


def _named(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return _NAMES.get(value, "NaN")
    if isinstance(value, Mapping):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one) for one in value]
    return value
