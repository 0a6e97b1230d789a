"""Texts that every part writes alike: a time, JSON for people, the name that was meant."""

from __future__ import annotations

import datetime
import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

# Of a name somebody typed: comparing takes time with its length, and so does reading it.
_LONGEST_NAME = 80


def utc_now() -> str:
    """The time in UTC, to the second: `2026-01-31T12:00:00+00:00`."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def pretty_json(value: object) -> bytes:
    """Anything that msgspec encodes, indented by 2, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def text_of(path: Path | str) -> str:
    """A file's name as text, also where it is none: its bytes as escapes then."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def source_name(path: Path) -> str:
    """What is kept of where data came from: a file's name; a pipe's is a number, and is gone."""
    if str(path) in {"-", "/dev/stdin"}:
        return "standard input"
    in_process = path.is_absolute() and path.parent.name == "fd"  # /dev/fd/63, /proc/self/fd/63
    return "a pipe" if in_process or path.is_fifo() else text_of(path.name)


def listed(values: Iterable[object]) -> str:
    """Values in a message for people, who need know nothing of Python's brackets."""
    return ", ".join(map(str, values))


def counted(count: float, noun: str, spec: str = "") -> str:
    """A number and its regular noun: `1 step`, `2 steps`; `1 query`, `2,000 queries` with `,`."""
    many = f"{noun[:-1]}ies" if noun[-1] == "y" and noun[-2] not in "aeiou" else f"{noun}s"
    written = f"{count:{spec}}"
    return f"{written} {noun if count == 1 or written == '1' else many}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for the end of a message about an unknown name.

    Returns:
        `; did you mean 'x'?` with the nearest of those that are known; empty where none is near.
    """
    near = difflib.get_close_matches(name[:_LONGEST_NAME], list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
