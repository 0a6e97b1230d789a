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

from escalade.edge.base import explain
from escalade.edge.trace.schema import Line

L = TypeVar("L", bound=Line)

_ENCODER = msgspec.json.Encoder()
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode_line(line: Line) -> bytes:
    """One line, its newline included."""
    if math.isfinite(_sum(line)):
        return _ENCODER.encode(line) + b"\n"
    return _ENCODER.encode(_named(msgspec.to_builtins(line))) + b"\n"


def decode_line(raw: bytes | msgspec.Raw, kind: type[L]) -> L:
    """What a line holds.

    Raises:
        DecodeError, UnicodeDecodeError: it holds something else; of an unknown key the nearest that
            is known is named.
    """
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(explain(error, bytes(raw), kind)) from error


def _sum(value: object) -> float:
    """Of all its numbers with a point: only one that is not finite makes it so; a short way."""
    if isinstance(value, float):
        return value
    if isinstance(value, msgspec.Struct):
        return sum(_sum(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, list):
        flat = value and isinstance(value[0], (float, int))  # log-probabilities
        return sum(value) if flat else sum(map(_sum, value))
    return 0.0


def _named(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return _NAMES.get(value, "NaN")
    if isinstance(value, Mapping):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one) for one in value]
    return value
