"""Writes files and folders aside and renames them whole, holds and hashes them; knows no format.

A reader sees the old content or the new, never half of either.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from escalade.edge.base.clock import Clock, SystemClock
from escalade.edge.errors import DataError

_CHUNK_BYTES = 1 << 20
# Linux, include/uapi/linux/fcntl.h and fs.h.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# `is_held` has the lock for microseconds.
_ASKED_S, _POLL_S = 0.5, 0.02


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; rename it onto `path` when the block ends well.

    Raises:
        DataError: `path` is a folder, or its own folder cannot be written.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; a file's name is needed")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Give an empty folder beside `path`; swap it in for `path` when the block ends well.

    One step where the platform exchanges folders (`exchange`). Elsewhere two renames, and a
    process that dies between them leaves nothing at `path`: the old folder beside it, `.old`.

    Args:
        path: the folder to write.
        marker: a file that every folder of this kind holds. What is at `path` is replaced only
            if it holds that file or nothing: nobody's other folder is swept away.

    Raises:
        DataError: something else is at `path`, or its own folder cannot be written.
    """
    check_replaceable(path, marker)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield aside
        aside.chmod(0o755)
        if path.exists() and exchange(aside, path):
            return
        old = aside.with_suffix(".old")
        if path.exists():
            path.replace(old)
        try:
            aside.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Give two files or folders each other's names in one step; a reader sees no moment between.

    Returns:
        Whether it was done: False, with nothing changed, where the system or the file system
        cannot (Linux 3.15 or later can, on its usual file systems; see renameat2(2)).
    """
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def check_replaceable(path: Path, marker: str) -> None:
    """Refuse what `atomic_folder` would refuse, for a caller whose work takes hours.

    Raises:
        DataError: something is at `path` that is neither empty nor holds `marker`.
    """
    if path.exists() and not (path.is_dir() and (_empty(path) or (path / marker).is_file())):
        raise DataError(f"{path}: is there and holds no {marker}; name another, or remove it")


def _empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: a rename may not outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def shared_lock(folder: Path, *, clock: Clock | None = None) -> Iterator[Path]:
    """Keep a folder from being deleted, while the block runs, by those who ask `is_held`.

    Whoever may read the folder could hold it against all others. That keeps nobody waiting: it
    is not deleted then either.

    Args:
        folder: or a link to it.
        clock: see `Clock`.

    Yields:
        The folder with all links followed: where a link leads may change meanwhile.

    Raises:
        DataError: there is no such folder.
    """
    import fcntl  # not on Windows, where nobody asks `is_held` either

    path = folder.resolve()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        try_lock(descriptor, fcntl.LOCK_SH, _ASKED_S, clock or SystemClock())
        yield path
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int, most_s: float, clock: Clock) -> bool:
    """Lock an open file or folder, as `flock` does, within a time.

    Returns:
        Whether it was locked; False where somebody else had it all the time.

    Raises:
        OSError: there are no locks here.
    """
    import fcntl

    until_s = clock.now_s() + most_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.now_s() >= until_s:
                return False
            clock.sleep_s(_POLL_S)
        else:
            return True


def is_held(folder: Path) -> bool:
    """Whether anybody, in this process or another, has the folder in `shared_lock`, or may have."""
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's alone
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is; or the file system knows no locks
        return True
    finally:
        os.close(descriptor)
    return False


def sha256_of(*paths: Path) -> str:
    """The sha256 over the bytes of files, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
