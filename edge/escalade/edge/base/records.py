"""Reads and writes query records (JSON Lines); knows no model, no network.

One line is one query: `{"id", "task", "prompt", "references": [...]}`. Users bring
their own files in this format; every reference counts as a correct answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from escalade.edge.base.files import atomic_write
from escalade.edge.errors import DataError

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One query `x` with every response that counts as correct."""

    id: str
    task: str
    prompt: str
    references: list[str]


def read_records(path: Path) -> list[Record]:
    """Read a JSON Lines file of query records.

    Raises:
        DataError: the file is missing, empty, or a line is malformed (the message
            names the line), or two lines carry the same id.
    """
    seen: dict[str, int] = {}
    records = []
    for number, record in iter_jsonl(path, Record):
        if record.id in seen:
            raise DataError(
                f"{path}:{number}: id {record.id!r} was already used on line {seen[record.id]};"
                " every query needs an id of its own"
            )
        seen[record.id] = number
        records.append(record)
    if not records:
        raise DataError(f"{path}: no records; at least 1 line of JSON is needed")
    return records


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as JSON Lines, aside and renamed; returns how many."""
    count = 0
    encoder = msgspec.json.Encoder()
    with atomic_write(path) as stream:
        for record in records:
            stream.write(encoder.encode(record) + b"\n")
            count += 1
    return count


def subsample(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` items, evenly spaced over the sequence; the same ones every time.

    Raises:
        DataError: the limit is below 1.
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise DataError(f"limit must be at least 1, got {limit}")
    return [items[index * len(items) // limit] for index in range(limit)]


def iter_jsonl(path: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    """Yield `(line number, value)` for each line that is not blank.

    Raises:
        DataError: the file cannot be read or a line does not hold a `kind`.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    with stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield number, decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DataError(f"{path}:{number}: not a valid record: {error}") from error
