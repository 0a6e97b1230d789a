"""Lines of a trace to bytes and back, numbers that are not finite included; knows no file.

JSON has no NaN and no infinity. A broken model gives both, and its record must be readable all the
same: they are written as the strings `NaN`, `Infinity` and `-Infinity`, which the reader takes
where a number is due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from escalade.edge.trace.schema import Line, TraceRecord

L = TypeVar("L", bound=Line)

_ENCODER = msgspec.json.Encoder()
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode_line(line: Line) -> bytes:
    """One line, its newline included."""
    if isinstance(line, TraceRecord) and _is_finite(line):
        return _ENCODER.encode(line) + b"\n"
    return _ENCODER.encode(_named(msgspec.to_builtins(line))) + b"\n"


def decode_line(raw: bytes | msgspec.Raw, kind: type[L]) -> L:
    """What a line holds.

    Raises:
        DecodeError, UnicodeDecodeError: it holds something else.
    """
    return msgspec.json.decode(raw, type=kind, strict=False)


def _is_finite(record: TraceRecord) -> bool:
    """Whether every number that a model's output decides is finite; spares the long way."""
    return all(
        (tier.score is None or math.isfinite(tier.score))
        and all(math.isfinite(value) for member in tier.members for value in member.logprobs)
        for tier in record.tiers
        if tier is not None
    )


def _named(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return _NAMES.get(value, "NaN")
    if isinstance(value, Mapping):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one) for one in value]
    return value
