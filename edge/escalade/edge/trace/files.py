"""Trace files: JSON Lines, a header and a record for each query; knows no model, no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

import msgspec

from escalade.edge.base import atomic_write, iter_jsonl
from escalade.edge.errors import DataError
from escalade.edge.trace.lines import decode_line, encode_line
from escalade.edge.trace.schema import (
    TRACE_SCHEMA,
    MemberAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
)
from escalade.edge.trace.schema1 import converted, header_of_1, record_of_1

T = TypeVar("T")

_RECORD = "TraceRecord"

#: Makes what a line holds from the line.
Decode = Callable[[msgspec.Raw], T]


class _Head(msgspec.Struct):
    schema: int


def _head(raw: msgspec.Raw) -> int:
    return msgspec.json.decode(raw, type=_Head).schema


def _header(raw: msgspec.Raw) -> TraceHeader:
    header = decode_line(raw, TraceHeader)
    if not header.tiers:
        raise msgspec.ValidationError("at least 1 tier is needed")
    return header


def read_trace(path: Path) -> Trace:
    """Read a trace; one of schema 1 is converted.

    Raises:
        DataError: missing, empty, of another schema, or a malformed line (named).
    """
    lines = iter_jsonl(path, msgspec.Raw)
    schema, number, first = _begin(path, lines)
    if schema == 1:
        old = _decoded(path, number, first, header_of_1, "TraceHeader")
        trace = converted(old, [_decoded(path, n, raw, record_of_1, _RECORD) for n, raw in lines])
    else:
        header = _decoded(path, number, first, _header, "TraceHeader")

        def record(raw: msgspec.Raw) -> TraceRecord:
            found = decode_line(raw, TraceRecord)
            _check(found, header)
            return found

        trace = Trace(header, [_decoded(path, n, raw, record, _RECORD) for n, raw in lines])
    if not trace.records:
        raise DataError(f"{path}: no records; at least 1 query is needed")
    return trace


def _begin(path: Path, lines: Iterator[tuple[int, msgspec.Raw]]) -> tuple[int, int, msgspec.Raw]:
    """The schema of a trace; number and content of its first line."""
    try:
        number, first = next(lines)
    except StopIteration:
        raise DataError(f"{path}: empty; the first line of a trace is its header") from None
    schema = _decoded(path, number, first, _head, "TraceHeader")
    if schema not in {1, TRACE_SCHEMA}:
        raise DataError(f"{path}: trace schema {schema}; this version reads 1 and {TRACE_SCHEMA}")
    return schema, number, first


def write_trace(path: Path, header: TraceHeader, records: Iterable[TraceRecord]) -> int:
    """Write a trace as the records come, aside and renamed at the end; returns how many."""
    count = 0
    with atomic_write(path) as stream:
        stream.write(encode_line(header))
        for record in records:
            stream.write(encode_line(record))
            count += 1
    return count


class TraceAppender:
    """Adds records to a trace as queries come, for as long as a client lives.

    A trace has one header, so a file that other tiers, rules or thresholds have begun takes no
    more of them.
    """

    def __init__(self, path: Path, ours: TraceHeader) -> None:
        """Look at what is there.

        Args:
            path: the trace, begun or not.
            ours: what a header would say now; who answers over a link does not matter yet.

        Raises:
            DataError: the file cannot be read or written, is not a trace, or was begun
                by another cascade.
        """
        self._path = path
        self._ours = ours
        self._begun = False
        if path.exists():
            self._begun = path.stat().st_size > 0
            if self._begun:
                self._refuse_another()
        elif not path.parent.is_dir():
            raise DataError(f"{path}: its folder does not exist")

    def append(self, header: Callable[[], TraceHeader], record: TraceRecord) -> None:
        """Add one record; a new trace begins with what `header` gives.

        Raises:
            DataError: it cannot be written, or another cascade has begun the trace meanwhile; the
                file is as it was.
        """
        first = b"" if self._begun else encode_line(header())
        try:
            with self._path.open("ab", buffering=0) as stream:
                if first:
                    # Another process may begin it at this moment: one header is enough.
                    _lock(stream)
                    if os.fstat(stream.fileno()).st_size > 0:
                        self._refuse_another()
                        first = b""
                _write_whole(stream, first + encode_line(record))
        except OSError as error:
            raise DataError(
                f"{self._path}: no record was added: {error.strerror or error}"
            ) from error
        self._begun = True

    def _refuse_another(self) -> None:
        """Hold the header that is there against ours."""
        if _begin(self._path, iter_jsonl(self._path, msgspec.Raw))[0] != TRACE_SCHEMA:
            raise DataError(
                f"{self._path}: trace schema 1 is read and not added to; name another file"
            )
        old, new = read_trace(self._path).header, self._ours
        facts: list[tuple[str, object, object]] = [
            ("number of tiers", len(old.tiers), len(new.tiers))
        ]
        for was, now in zip(old.tiers, new.tiers, strict=False):
            facts += [
                (f"place of tier {now.name!r}", was.place, now.place),
                (f"rule of tier {now.name!r}", was.rule, now.rule),
                (f"threshold of tier {now.name!r}", was.threshold, now.threshold),
            ]
            if now.place == "device":
                facts.append((f"tier {now.name!r}", _described(was), _described(now)))
        for name, was_said, now_said in facts:
            if was_said != now_said:
                raise DataError(
                    f"{self._path}: recorded under {name} {was_said}, this client has {now_said};"
                    " name another file"
                )


def _described(tier: TierInfo) -> str:
    """Who answers, down to the bytes that decide what; digests are shortened for people."""
    members = [
        f"{one.name!r} of {one.parameters} parameters"
        + ("" if one.program_sha256 is None else f" (program {one.program_sha256[:12]})")
        for one in tier.members
    ]
    if len(members) < 2:  # noqa: PLR2004
        return ", ".join(members)
    return ("side by side " if tier.side_by_side else "in turn ") + ", ".join(members)


def _lock(stream: FileIO) -> None:
    """Keep others from beginning the file until it is closed; not where there are no locks."""
    with suppress(ImportError, OSError):
        import fcntl  # not on Windows

        fcntl.flock(stream, fcntl.LOCK_EX)


def _write_whole(stream: FileIO, content: bytes) -> None:
    """Write at the end of a file, or leave it as it was: half a line would spoil a trace."""
    before = os.fstat(stream.fileno()).st_size
    written = 0
    try:
        while written < len(content):
            written += stream.write(content[written:])
    except OSError:
        # Not where another process has added to it meanwhile: that line is not ours to cut.
        if written and os.fstat(stream.fileno()).st_size == before + written:
            stream.truncate(before)
        raise


def _check(record: TraceRecord, header: TraceHeader) -> None:
    """Hold a record against its header.

    Raises:
        ValidationError: it has other tiers or members, or no answer where one is to stand.
    """
    wrong = None
    if len(record.tiers) != len(header.tiers):
        wrong = f"{len(record.tiers)} tiers, the header has {len(header.tiers)}"
    elif record.answered_by >= len(record.tiers) or record.tiers[record.answered_by] is None:
        wrong = f"answered_by is {record.answered_by}, and that tier has no answer"
    else:
        for answer, tier in zip(record.tiers, header.tiers, strict=True):
            # Who answers elsewhere may not have been known when the trace began.
            count = len(tier.members) or (0 if tier.place == "device" else sys.maxsize)
            if answer is not None and not _fits(answer.members, count):
                wrong = f"tier {tier.name!r}: members must be 1 or more of {len(tier.members)}"
    if wrong is not None:
        raise msgspec.ValidationError(wrong)


def _fits(members: Sequence[MemberAnswer], count: int) -> bool:
    """Whether a tier's members are known to the header, each once."""
    places = [member.member for member in members]
    return bool(places) and len(set(places)) == len(places) and max(places) < count


def _decoded(path: Path, number: int, raw: msgspec.Raw, decode: Decode[T], name: str) -> T:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}:{number}: not a valid {name}: {error}") from error
