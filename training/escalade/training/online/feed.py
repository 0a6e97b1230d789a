"""Queries with an expert's answers, handed from who serves to who learns; knows no level.

    FEED/00000000000000000000.jsonl   the first entries, one a line
    FEED/00000000000000004096.jsonl   those from number 4096 on; the last file grows

Nothing is dropped: who learns slowly lags behind, and deletes a file once it has a checkpoint
after the last entry in it. An entry is with the system when `add` returns: a process that dies
loses none, a power cut those of the last seconds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

import msgspec

from escalade.edge.base import UNDECODABLE, exclusive_lock
from escalade.edge.errors import DataError
from escalade.training.online.record import LineFile

_SUFFIX = ".jsonl"
# A file is read again from its start after a restart: a second at most.
_ENTRIES_PER_FILE = 4096


class FeedEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A query, and what the expert said of it."""

    #: 0, 1, 2... of the feed.
    number: int
    text: str
    expert: str
    #: Whether a coin that knows nothing of the query chose it: such are a fair sample of all.
    sampled: bool = False
    #: What a lower tier answered; None where the expert's answer was given.
    kept: str | None = None
    #: Whether kept answers have been found to agree less than was promised, just before this one.
    alarm: bool = False


class FeedWriter:
    """Adds entries; for any thread."""

    def __init__(self, folder: Path) -> None:
        """Go on with a feed, or begin one; an entry that is half there goes.

        Raises:
            DataError: it cannot be read or written, or another process adds to it.
        """
        self._folder, self._lock, self._held = folder, Lock(), ExitStack()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
        self._held.enter_context(exclusive_lock(folder, wait_s=0.0))
        try:
            self._first = max(_files(folder), default=0)
            self._file = LineFile(_path(folder, self._first))
            self._next = self._first + sum(1 for _ in self._file.lines())
        except BaseException:
            self._held.close()
            raise
        self._torn = self._closed = False

    def add(
        self,
        text: str,
        expert: str,
        *,
        sampled: bool,
        kept: str | None = None,
        alarm: bool = False,
    ) -> int:
        """Hand over an entry, see `FeedEntry`; gives its number.

        Raises:
            DataError: it cannot be written; the feed is as it was.
        """
        with self._lock:
            if self._closed:
                raise DataError(f"{self._folder}: was closed")
            if self._torn or self._next - self._first >= _ENTRIES_PER_FILE:
                self._open_another()
            entry = FeedEntry(
                number=self._next,
                text=text,
                expert=expert,
                sampled=sampled,
                kept=kept,
                alarm=alarm,
            )
            try:
                self._file.add(msgspec.json.encode(entry))
            except DataError:
                self._torn = True  # half a line may be there, which opening takes away
                raise
            self._next += 1
            return entry.number

    def close(self) -> None:
        """Let another process add."""
        with self._lock:
            self._closed = True
            self._file.close()
            self._held.close()

    def _open_another(self) -> None:
        first = self._first if self._torn else self._next
        file = LineFile(_path(self._folder, first))
        self._file.close()
        self._file, self._first, self._torn = file, first, False


class FeedReader:
    """Takes entries in their order, as they come."""

    def __init__(self, folder: Path, first: int) -> None:
        """Begin at an entry.

        Args:
            folder: the feed.
            first: its number.
        """
        self._folder, self._next = folder, first
        # Of the file that holds the next entry: its first number, the bytes that were read, and
        # the number after the last entry in these.
        self._file, self._offset, self._end = -1, 0, 0

    def take(self) -> Iterator[FeedEntry]:
        """The entries that are there and were not taken.

        Raises:
            DataError: while iterating: they cannot be read, or some are missing.
        """
        while True:
            files = _files(self._folder)
            holding = max((one for one in files if one <= self._next), default=None)
            if holding is None:
                if files or self._next:
                    raise self._missing()
                return
            if holding != self._file:
                self._file, self._offset, self._end = holding, 0, holding
            before = self._next
            yield from self._rest(_path(self._folder, holding))
            if self._next == before:
                if max(files) > self._next or self._end < self._next:
                    raise self._missing()
                return

    def drop(self, before: int) -> None:
        """Delete the files whose entries all have lower numbers; the last file stays."""
        files = _files(self._folder)
        for first, following in itertools.pairwise(files):
            if following <= before:
                _path(self._folder, first).unlink(missing_ok=True)

    def sync(self) -> None:
        """Wait until the disk has what was taken.

        Raises:
            DataError: it cannot be written.
        """
        if self._file < 0:
            return
        path = _path(self._folder, self._file)
        try:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error

    def _rest(self, path: Path) -> Iterator[FeedEntry]:
        decoder = msgspec.json.Decoder(FeedEntry)
        try:
            with path.open("rb") as stream:
                stream.seek(self._offset)
                for line in stream:
                    if not line.endswith(b"\n"):  # it is being written
                        return
                    entry = decoder.decode(line)
                    self._offset, self._end = self._offset + len(line), entry.number + 1
                    if entry.number > self._next:
                        raise self._missing()
                    if entry.number == self._next:
                        self._next += 1
                        yield entry
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except UNDECODABLE as error:
            raise DataError(f"{path}: holds a line that is no entry: {error}") from error

    def _missing(self) -> DataError:
        return DataError(
            f"{self._folder}: entry {self._next} is missing: it is another feed than the one that"
            " was learned from; name another folder for what is learned"
        )


def _files(folder: Path) -> list[int]:
    """First numbers, rising."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
    stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


def _path(folder: Path, first: int) -> Path:
    return folder / f"{first:020}{_SUFFIX}"
