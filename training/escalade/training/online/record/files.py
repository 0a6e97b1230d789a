"""The folder of a run, and files that it adds lines to and goes on with; knows no line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from escalade.edge.base import exclusive_lock
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


@contextmanager
def run_folder(out: Path, names: Collection[str]) -> Iterator[None]:
    """Be the only run that writes a folder, while the block runs.

    What a run that was killed was writing aside goes. One that fails before its first line leaves
    nothing behind.

    Args:
        out: the folder; made where it is not there.
        names: what a run writes in it.

    Raises:
        DataError: it cannot be written, is in use or holds something else.
    """
    began = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = sorted(one.name for one in out.iterdir())
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    for name in there:
        if name not in names and not name.startswith("."):
            raise DataError(f"{out}: holds {name}, which no run over a stream writes; name another")
    with exclusive_lock(out, wait_s=0.0):
        _sweep(out)
        try:
            yield
        except BaseException:
            _forget(out, whole=began)
            raise


def _sweep(out: Path) -> None:
    """Take away what was half written aside."""
    for left in out.glob(".*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _forget(out: Path, *, whole: bool) -> None:
    """Take away files, and the folder where it is to go whole, if nothing is in any of them."""
    there = list(out.iterdir())
    if any(not one.is_file() or one.stat().st_size for one in there):
        return
    for one in there:
        one.unlink()
    if whole:
        out.rmdir()
