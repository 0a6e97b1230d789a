"""Adds records to a trace, beside others who add to it; knows no model, no network.

Whoever adds holds a lock on the file while it looks at what is there and writes: of several
processes and threads that begin one trace, one writes the header, and lines never mix. A line that
is half there, as a power cut leaves it, goes when the next record comes. Threads of one client wait
for each other first, so that one of them asks for the file's lock at a time.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import msgspec

from escalade.edge.base import UNDECODABLE, check_writable, jsonl_lines, lock_alone
from escalade.edge.errors import DataError
from escalade.edge.trace.files import begin, check_record
from escalade.edge.trace.lines import encode_line
from escalade.edge.trace.schema import TierInfo, TraceHeader, TraceRecord, links_of

_CHUNK_BYTES = 1 << 16
# For the thread before this one, which may itself wait so long for another process.
_TURN_S = 10.0


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
        self._turn = threading.Lock()
        # The header that is there, as it stands and what it says; None where there is none yet.
        self._there: tuple[bytes, TraceHeader] | None = None
        # Whether others have begun it: who answers elsewhere is not known to be the same.
        self._strange = False
        check_writable(path)
        if not path.exists() and not path.parent.is_dir():
            raise DataError(f"{path}: its folder does not exist")
        if path.is_file():
            with self._reporting("cannot be read"), path.open("rb", buffering=0) as stream:
                self._look(stream)

    def append(self, header: Callable[[], TraceHeader], record: TraceRecord) -> None:
        """Add one record; a new trace begins with what `header` gives.

        Raises:
            DataError: it cannot be written, another cascade has begun the trace meanwhile, or
                other models than its header names answer elsewhere; the file is as it was.
        """
        asked = self._strange and any(one is not None and links_of(one) for one in record.tiers)
        # Before any lock, for it may ask who is elsewhere.
        fresh = header() if asked or self._there is None else None
        with self._in_turn(), self._reporting("no record was added"), self._opened() as stream:
            self._ours = fresh or self._ours
            if _is_regular(stream):
                self._look(stream)
                if asked and self._there is not None:
                    self._refuse_another(self._there[1])
                    self._strange = False
                _mend(stream)
            begins = self._there is None
            try:
                check_record(record, self._ours if self._there is None else self._there[1])
            except msgspec.ValidationError as error:
                raise DataError(f"{self._path}: begun by another cascade: {error}") from error
            first = encode_line(self._ours)
            _write_whole(stream, first * begins + encode_line(record))
            if begins:
                self._there, self._strange = (first, self._ours), False

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=_TURN_S):
            raise DataError(f"{self._path}: no record was added: others still wait to write")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self._path}: {what}: {error.strerror or error}") from error

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        """The file, for this writer alone; a pipe or a device as it comes."""
        regular = self._path.is_file() or not self._path.exists()
        while True:
            with self._path.open("a+b" if regular else "ab", buffering=0) as stream:
                if _is_regular(stream):
                    lock_alone(stream.fileno(), self._path)
                    if not _is_at(self._path, stream):
                        continue  # another file was put in its place while this one waited
                yield stream
                return

    def _look(self, stream: FileIO) -> None:
        """Find the header that is there, and hold it against ours."""
        stream.seek(0)
        if self._there is not None and stream.read(len(self._there[0])) == self._there[0]:
            return
        stream.seek(0)
        self._there = None
        if not os.fstat(stream.fileno()).st_size or _is_torn_header(stream, self._ours):
            return
        lines = jsonl_lines(stream, self._path, msgspec.Raw)
        _, raw, header = begin(self._path, lines)
        if header is None:
            raise DataError(
                f"{self._path}: trace schema 1 is read and not added to; name another file"
            )
        self._refuse_another(header)
        self._there, self._strange = (bytes(raw), header), True

    def _refuse_another(self, old: TraceHeader) -> None:
        new = self._ours
        facts: list[tuple[str, object, object]] = [
            ("number of tiers", len(old.tiers), len(new.tiers))
        ]
        for was, now in zip(old.tiers, new.tiers, strict=False):
            facts += [
                (f"place of tier {now.name!r}", was.place, now.place),
                (f"rule of tier {now.name!r}", was.rule, now.rule),
                (f"threshold of tier {now.name!r}", was.threshold, now.threshold),
            ]
            if was.members and now.members:
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
        + ("" if one.revision is None else f" (revision {one.revision[:12]})")
        for one in tier.members
    ]
    if len(members) < 2:  # noqa: PLR2004
        return ", ".join(members)
    return ("side by side " if tier.side_by_side else "in turn ") + ", ".join(members)


def _is_regular(stream: FileIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def _is_at(path: Path, stream: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _is_torn_header(stream: FileIO, ours: TraceHeader) -> bool:
    """Whether a file holds the beginning of a trace's first line, and nothing else."""
    head = stream.read(_CHUNK_BYTES)
    stream.seek(0)
    if not head.strip(b"\0"):  # a file system may have kept its length, and not its content
        return True
    start = encode_line(ours)[: len(b'{"schema":2')]
    return head[: len(start)] == start[: len(head)] and b"\n" not in head and not _is_json(head)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except UNDECODABLE:
        return False
    return True


def _mend(stream: FileIO) -> None:
    """End the last line of a file where it lacks its end, or take it away where it is torn."""
    size = stream.seek(0, os.SEEK_END)
    tail, begins = b"", size
    while begins and b"\n" not in tail:
        step = min(begins, _CHUNK_BYTES)
        begins = stream.seek(begins - step)
        tail = stream.read(step) + tail
    whole, newline, line = tail.rpartition(b"\n")
    if not line:
        return
    if _is_json(line):
        _write_whole(stream, b"\n")
    else:
        stream.truncate(begins + len(whole) + len(newline))


def _write_whole(stream: FileIO, content: bytes) -> None:
    """Write at the end of a file, or leave it as it was: half a line would spoil a trace."""
    before = os.fstat(stream.fileno()).st_size
    written = 0
    try:
        while written < len(content):
            written += stream.write(content[written:])
    except OSError:
        if written and _is_regular(stream):
            stream.truncate(before)
        raise
