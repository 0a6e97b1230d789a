"""Reads and writes query records (JSON Lines); knows no model, no network.

One line is one query: `{"id", "task", "prompt", "references": [...]}`. Users bring
their own files in this format; every reference counts as a correct answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from escalade.edge.base.jsonl import iter_jsonl
from escalade.edge.base.writing import atomic_write
from escalade.edge.errors import DataError, PromptError

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One query `x` with every response that counts as correct."""

    id: str
    task: str
    prompt: str
    references: list[str]


class RecordFile(NamedTuple):
    """The records of a file, and where in it they are."""

    path: Path
    records: list[Record]
    #: By the record's id.
    lines: dict[str, int]
    #: Of all that was read, in hexadecimal.
    sha256: str

    def where(self, record: Record) -> str:
        """What a message says of a record: file, line and id."""
        return f"{self.path}:{self.lines[record.id]}: record {record.id!r}"


def read_records(path: Path) -> list[Record]:
    """The records of a file; see `read_record_file`."""
    return read_record_file(path).records


def read_record_file(path: Path) -> RecordFile:
    """Read a JSON Lines file of query records, once.

    Raises:
        DataError: the file is missing, empty, or a line is malformed (the message
            names the line), or two lines carry the same id.
    """
    digest = hashlib.sha256()
    lines: dict[str, int] = {}
    records = []
    for number, record in iter_jsonl(path, Record, digest):
        if record.id in lines:
            raise DataError(
                f"{path}:{number}: id {record.id!r} was already used on line {lines[record.id]};"
                " every query needs an id of its own"
            )
        lines[record.id] = number
        records.append(record)
    if not records:
        raise DataError(f"{path}: no records; at least 1 line of JSON is needed")
    return RecordFile(path, records, lines, digest.hexdigest())


def named(record: Record) -> str:
    """What a message says of a record whose file is not known."""
    return f"record {record.id!r}"


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Say of which record's prompt it is that it was refused.

    Raises:
        PromptError: in place of the one inside.
    """
    try:
        yield
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from error


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
