"""What it costs to write a value, or to make one text of others; knows no template, spends nothing.

A cost is in characters; an element of a list or dictionary counts as `STEP`, as each step does. So
a budget of costs bounds time and memory both, at the same place on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

#: Of a step of a loop, a call, or an element: about a microsecond, and some ten bytes.
STEP = 32
# As jinja2.sandbox.MAX_RANGE: of widths, counts and the like.
_MOST = 100_000
# Numbers of more bits take their time; no template needs them.
_BITS = 4096
_SMALL = frozenset({bool, int, float, type(None)})
# Text may be cut into one piece for each character, of 50 bytes.
_PIECE = 16


class TooMuchError(Exception):
    """A template takes more than it may."""


def size(value: object) -> int:
    """Of a value, not of what it holds."""
    if isinstance(value, str | bytes):
        return len(value)
    return STEP * len(value) if isinstance(value, list | tuple | dict | set | range) else 1


def whole_size(value: object, most: int) -> int:
    """Of a value with all that it holds, as often as it would be written; counted up to `most`."""
    total, waiting = 0, [value]
    while waiting and total <= most:
        one = waiting.pop()
        if type(one) in _SMALL:
            total += 1
            continue
        total += size(one)
        if isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            waiting.extend([*one.keys(), *one.values()])
        # Sets, and the items of a dictionary; an iterator would be used up.
        elif isinstance(one, Collection) and not isinstance(one, str | bytes | range):
            waiting.extend(one)
    return total


def depth(value: object) -> int:
    """How deep lists and dictionaries lie in one another, up to what Python would write."""
    level, found = [value], 0
    while level and found < _BITS:
        found += 1
        level = list(
            {
                id(inner): inner
                for one in level
                if isinstance(one, list | tuple | dict)
                for inner in (one.values() if isinstance(one, dict) else one)
            }.values()
        )
    return found


def numbers(values: Iterable[object]) -> int:
    """Of widths and counts among some values, together.

    Raises:
        TooMuchError: one is larger than any that is needed.
    """
    found = [abs(value) for value in values if isinstance(value, int)]
    _at_most(_MOST, max(found, default=0), "a width or count")
    return sum(found)


def product(left: object, right: object) -> int:
    """Of `left * right`.

    Raises:
        TooMuchError: two numbers whose product has more bits than any that is needed.
    """
    if isinstance(left, int) and isinstance(right, int):
        _at_most(_BITS, left.bit_length() + right.bit_length(), "the bits of a number")
        return 1
    value, times = (left, right) if isinstance(right, int) else (right, left)
    return size(value) * max(0, times) if isinstance(times, int) else 1


def check_power(left: object, right: object) -> None:
    """Refuse a power that is a number of more bits than any that is needed.

    Raises:
        TooMuchError: it is.
    """
    if isinstance(left, int) and isinstance(right, int):
        _at_most(_BITS, left.bit_length() * max(0, right), "the bits of a number")


def replaced(text: str | bytes, old: object, new: object) -> int:
    """Of `text` with `new` for each `old`."""
    old, new = (one if isinstance(one, str | bytes) else str(one) for one in (old, new))
    if isinstance(text, bytes) or isinstance(old, bytes):
        return (len(text) + 1) * (len(new) + 1)
    return (text.count(old) if old else len(text) + 1) * (len(new) + 1)


def percent(text: str | bytes, given: int) -> int:
    """Of `text % values`, where writing the values costs `given`.

    Raises:
        TooMuchError: a width is larger than any that is needed, or a value.
    """
    shown = text if isinstance(text, str) else text.decode("latin-1")
    if "*" in shown:
        raise TooMuchError("a width in a format must be a number, got *")
    return _fields(shown, "%", given)


def formatted(text: str, given: int) -> int:
    """Of `text.format(...)`; see `percent`."""
    if re.search(r"[:!][^{}]*\{", text):
        raise TooMuchError("a width in a format must be a number, got a field")
    return _fields(text, "{", given)


def of_method(owner: str | bytes, name: str, options: Sequence[object], given: int) -> int:
    """Of a method of a text: what it reads, and how much more it makes.

    Args:
        owner: the text.
        name: of the method.
        options: its arguments.
        given: the cost of writing them.

    Raises:
        TooMuchError: nobody knows its cost, or a number is larger than any that is needed.
    """
    cost = len(owner) + given + numbers(options)
    if name == "translate":
        raise TooMuchError("translate is not to be had in a template")
    if name == "replace" and len(options) > 1:
        return cost + replaced(owner, *options[:2])
    if name == "join":
        return cost + len(owner) * (given // STEP + 1)
    if name == "expandtabs":
        widths = [option for option in options if isinstance(option, int)]
        return cost + len(owner) * max([0, *widths] if widths else [8])
    if name in {"format", "format_map"}:
        return cost + formatted(str(owner), given)
    if name in {"split", "rsplit"}:
        by = options[0] if options else None
        few = isinstance(owner, str) and isinstance(by, str) and by
        return cost + _PIECE * (owner.count(by) if few else len(owner) // 2)  # type: ignore[arg-type]
    return cost + (len(owner) * _PIECE // 4 if name == "splitlines" else 0)


def _fields(text: str, mark: str, given: int) -> int:
    widths = [int(digits[:10]) for digits in re.findall(r"[0-9]+", text)]
    return text.count(mark) * given + numbers(widths)


def _at_most(most: int, value: int, what: str) -> None:
    if value > most:
        raise TooMuchError(f"{what} in a template must be at most {most}, got {str(value)[:20]}")
