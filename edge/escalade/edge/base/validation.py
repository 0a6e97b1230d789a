"""Says what is wrong with decoded data: the place, what may be there, what is; knows no file.

Ranges stand beside the fields they are for (`msgspec.Meta`). msgspec says which bound a value
breaks, and not the value; a user who has to mend a file wants the whole range and what is there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import inspect

from escalade.edge.base.text import nearest

_LARGEST = sys.float_info.max
#: Neither NaN nor an infinity.
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
#: Neither 0 nor 1.
OpenShare = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
#: What every generator of random numbers takes, scikit-learn's included.
Seed = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]

_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_OUT_OF_RANGE = re.compile(r"Expected `(?:int|float)` [<>]|Invalid (?:enum )?value")
_UNKNOWN = re.compile(r"unknown field `(.*)`$")
# Of a value that is shown: somebody else may have written the file.
_MOST_SHOWN = 80
# Of a key that nobody knows: those that are known are named beside it, and are shorter.
_MOST_OF_KEY = 24

# A step into data: the name of a field, or a place in a list; `...` is somewhere in a mapping.
_Steps = Sequence[tuple[str, str]]


def explain(error: msgspec.ValidationError, raw: object, kind: type) -> str:
    """What is wrong, in one line.

    A value out of range: `optim.steps must be at least 1, got 0`. An unknown key: with the
    nearest that is known there. Anything else: as msgspec says it, with the value.

    Args:
        error: what decoding as `kind` has raised.
        raw: what was decoded; as JSON (bytes), or read without types.
        kind: what it should have been.
    """
    message = " ".join(str(error).split())  # an unknown key may have lines of its own
    found = _PLACE.search(message)
    said, place = (message, "") if found is None else (message[: found.start()], found[1])
    data = _read(raw) if isinstance(raw, bytes) else raw
    ends = list(_follow(inspect.type_info(kind), data, _STEP.findall(place)))
    if unknown := _UNKNOWN.search(said):
        here = sorted({name for end, _ in ends for name in _names(end)})
        hint = nearest(unknown[1], here) or f"; known keys: {', '.join(here)}"
        begin, end = unknown.span(1)
        more = "..." if end - begin > _MOST_OF_KEY else ""
        return f"{message[: min(end, begin + _MOST_OF_KEY)]}{more}{message[end:]}{hint}"
    values = [value for _, value in ends if isinstance(value, str | int | float)]
    ranges = [text for end, _ in ends if (text := _range(end))]
    if ranges and values and _OUT_OF_RANGE.match(said):
        name = place.removeprefix(".") or "the value"
        allowed = " or ".join(ranges).replace(" or one of ", ", ")  # of a union each has its tag
        return f"{name} must be {allowed}, got {_shown(values[0])}"
    return f"{message}: {_shown(values[0])}" if values else message


def _read(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):  # what is wrong came before what is no JSON
        return None


def _follow(
    kind: inspect.Type, data: object, steps: _Steps
) -> Iterator[tuple[inspect.Type, object]]:
    """The types that may stand at a place, each with what stands there."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _follow(one, data, steps)
        return
    if isinstance(kind, inspect.StructType) and _other_tag(kind, data):
        if list(steps) == [(kind.tag_field, "")] and isinstance(data, Mapping):
            yield inspect.LiteralType((kind.tag,)), data[kind.tag_field]
        return
    if not steps:
        yield kind, data
        return
    (name, index), *rest = steps
    if isinstance(kind, inspect.StructType) and name:
        inner = data.get(name) if isinstance(data, Mapping) else None
        for field in kind.fields:
            if field.encode_name == name:
                yield from _follow(field.type, inner, rest)
    elif isinstance(kind, inspect.DictType) and index == "...":
        yield from _follow(kind.value_type, None, rest)
    elif index.isdigit():
        at = int(index)
        inner = data[at] if isinstance(data, Sequence) and at < len(data) else None
        if isinstance(kind, inspect.TupleType) and at < len(kind.item_types):
            yield from _follow(kind.item_types[at], inner, rest)
        elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
            yield from _follow(kind.item_type, inner, rest)


def _other_tag(kind: inspect.StructType, data: object) -> bool:
    """Whether data says that it is another one of a union."""
    if kind.tag_field is None or not isinstance(data, Mapping):
        return False
    return bool(data.get(kind.tag_field, kind.tag) != kind.tag)


def _names(kind: inspect.Type) -> Iterator[str]:
    if isinstance(kind, inspect.StructType):
        yield from (field.encode_name for field in kind.fields)


def _range(kind: inspect.Type) -> str:
    """In words; empty where all values of the type may be had."""
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if not isinstance(kind, inspect.IntType | inspect.FloatType):
        return ""
    low, high = _first(kind.ge, kind.gt), _first(kind.le, kind.lt)
    if (low, high) == (-_LARGEST, _LARGEST):
        return "finite"
    if isinstance(kind, inspect.FloatType) and low is not None and high == _LARGEST:
        return f"{'at least' if kind.gt is None else '>'} {low:g} and finite"
    if isinstance(kind, inspect.FloatType) and low is not None and high is not None:
        opening, closing = "[("[kind.ge is None], "])"[kind.le is None]
        return f"in {opening}{low:g}, {high:g}{closing}"
    words = []
    if low is not None:
        least = low if isinstance(low, int) else f"{low:g}"
        words.append(f"at least {least}" if kind.ge is not None else f"> {least}")
    if high is not None:
        words.append(f"at most {high}" if kind.le is not None else f"< {high:g}")
    return " and ".join(words)


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _shown(value: object) -> str:
    try:
        return repr(value)[:_MOST_SHOWN]
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of more digits than are read"
