"""Adds records to a trace, beside others who add to it; knows no model, no network.

Whoever adds holds a lock on the file while it looks at what is there and writes: of several
processes and threads that begin one trace, one writes the header, and lines never mix. A line that
is half there, as a power cut leaves it, goes when the next record comes. Threads of one client wait
for each other first, so that one of them asks for the file's lock at a time. A record for which
another process does not let go of the file is kept here, and goes with the next.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import msgspec

from escalade.edge.base import Clock, SystemClock, check_writable, jsonl_lines, lock_alone
from escalade.edge.errors import DataError, InUseError
from escalade.edge.trace.files import begin, check_record
from escalade.edge.trace.lines import encode_line
from escalade.edge.trace.schema import TRACE_SCHEMA, TierInfo, TraceHeader, TraceRecord, links_of
from escalade.edge.trace.whole_lines import is_regular, is_torn_start, mend, write_whole

# That an answer is held up for another process, which needs milliseconds unless it is stopped.
_WAIT_S = 10.0
# Some megabytes; a process that has the file for longer than these take is not coming back.
_MOST_KEPT = 1000
# Of every trace.
_START = f'{{"schema":{TRACE_SCHEMA}'.encode()


class _Coming(NamedTuple):
    """A record on its way into the file."""

    record: TraceRecord
    #: What a header would say, where that was asked for.
    fresh: TraceHeader | None
    #: Whether others have begun the file, and the record has an answer from elsewhere.
    asked: bool


class TraceAppender:
    """Adds records to a trace as queries come, for as long as a client lives.

    A trace has one header, so a file that other tiers, rules or thresholds have begun takes no
    more of them.
    """

    def __init__(self, path: Path, ours: TraceHeader, *, clock: Clock | None = None) -> None:
        """Look at what is there.

        Args:
            path: the trace, begun or not.
            ours: what a header would say now; who answers over a link does not matter yet.
            clock: see `Clock`; for how long another process is waited for.

        Raises:
            DataError: the file cannot be read or written, is not a trace, or was begun
                by another cascade.
        """
        self._path = path
        self._ours = ours
        self._clock = clock or SystemClock()
        self._turn = threading.Lock()
        # Those that another process kept out of the file, the oldest first.
        self._kept: deque[_Coming] = deque()
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
        """Add one record, after those that wait; a new trace begins with what `header` gives.

        Raises:
            InUseError: another process had the file for 10 s; the record goes with the next one,
                or when this is closed.
            DataError: it cannot be written, another cascade has begun the trace meanwhile, or
                other models than its header names answer elsewhere; the file is as it was.
        """
        asked = self._strange and any(one is not None and links_of(one) for one in record.tiers)
        # Before any lock, for it may ask who is elsewhere.
        coming = _Coming(record, header() if asked or self._there is None else None, asked)
        until_s = self._clock.now_s() + _WAIT_S
        # Without a bound: who has the turn gives it up at the end of his own ten seconds.
        with self._turn:
            try:
                with self._opened(until_s) as stream:
                    self._add_kept(stream)
                    self._add(stream, coming)
            except InUseError as error:
                if len(self._kept) >= _MOST_KEPT:
                    raise DataError(
                        f"{error}; no record was added: {_MOST_KEPT} wait for it, no more may"
                    ) from error
                self._kept.append(coming)
                raise InUseError(
                    f"{error}; the record waits, and is lost where the client is closed before"
                ) from error

    def close(self) -> None:
        """Add the records that wait, where the file is nobody's now; what cannot be is lost."""
        with self._turn, suppress(DataError):
            if self._kept:
                with self._opened(self._clock.now_s()) as stream:
                    self._add_kept(stream)

    def _add_kept(self, stream: FileIO) -> None:
        while self._kept:
            # Refused, it is as if it had come now; whose it was knows that it was not there.
            with suppress(DataError):
                self._add(stream, self._kept[0])
            self._kept.popleft()

    def _add(self, stream: FileIO, coming: _Coming) -> None:
        self._ours = coming.fresh or self._ours
        if is_regular(stream):
            self._look(stream)
            if coming.asked and self._there is not None:
                self._refuse_another(self._there[1])
                self._strange = False
            mend(stream)
        begins = self._there is None
        try:
            check_record(coming.record, self._ours if self._there is None else self._there[1])
        except msgspec.ValidationError as error:
            raise DataError(f"{self._path}: begun by another cascade: {error}") from error
        first = encode_line(self._ours)
        write_whole(stream, first * begins + encode_line(coming.record))
        if begins:
            self._there, self._strange = (first, self._ours), False

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self._path}: {what}: {error.strerror or error}") from error

    @contextmanager
    def _opened(self, until_s: float) -> Iterator[FileIO]:
        """The file, for this writer alone; a pipe or a device as it comes.

        Raises:
            DataError: it cannot be opened, read or written.
            InUseError: another process has it, and has it still at `until_s`.
        """
        with self._reporting("no record was added"), self._for_us_alone(until_s) as stream:
            yield stream

    @contextmanager
    def _for_us_alone(self, until_s: float) -> Iterator[FileIO]:
        regular = self._path.is_file() or not self._path.exists()
        while True:
            with self._path.open("a+b" if regular else "ab", buffering=0) as stream:
                if is_regular(stream):
                    wait_s = max(0.0, until_s - self._clock.now_s())
                    lock_alone(stream.fileno(), self._path, wait_s=wait_s, clock=self._clock)
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
        if not os.fstat(stream.fileno()).st_size or is_torn_start(stream, _START):
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


def _is_at(path: Path, stream: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
