"""A file that a run adds lines to, and goes on with where a checkpoint was; knows no line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from escalade.edge.errors import DataError


class LineFile:
    """Opened for one run; every line is with the system when `add` returns."""

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        """Open a file, or begin one.

        Args:
            path: of the file.
            size: bytes that stay of what is there; None keeps all whole lines.

        Raises:
            DataError: it cannot be opened, or is shorter.
        """
        self._path = path
        try:
            self._stream = path.open("a+b", buffering=0)
        except OSError as error:
            raise DataError(f"{path}: cannot be opened: {error.strerror}") from error
        there = os.fstat(self._stream.fileno()).st_size
        if size is None:
            size = sum(len(line) for line in self.lines() if line.endswith(b"\n"))
        if there < size:
            self._stream.close()
            raise DataError(f"{path}: has {there} bytes, and {size} when it was written last")
        self._stream.truncate(size)

    def add(self, line: bytes) -> None:
        """Write a line, without its newline, at the end.

        Raises:
            DataError: it cannot be written, or only a part of it; the next one to open the file
                takes that away.
        """
        rest = memoryview(line + b"\n")
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error

    def lines(self) -> Iterator[bytes]:
        """All that are there."""
        with self._path.open("rb") as stream:
            yield from stream

    def sync(self) -> int:
        """Wait for the disk; gives the file's size in bytes."""
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error
        return os.fstat(self._stream.fileno()).st_size

    def close(self) -> None:
        """Close it."""
        self._stream.close()
