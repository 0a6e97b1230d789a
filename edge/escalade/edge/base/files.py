"""Locks files and folders, hashes them, waits for the disk; knows no format.

Locks are flock(2): other processes respect them too, and whoever dies lets go.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from escalade.edge.base.clock import Clock, SystemClock
from escalade.edge.errors import DataError, InUseError

_CHUNK_BYTES = 1 << 20
_PRIVATE = 0o600
# Long for who writes a line or a manifest, short for who waits for an answer.
_WRITING_S = 10.0
# `is_held` has the lock for microseconds.
_ASKED_S, _POLL_S = 1.0, 0.02


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: a rename may not outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(path: Path) -> None:
    """Make a file where there is none, and its folder; nobody else may read it.

    One that is there is not opened: to close it would let go of what SQLite has locked in it.

    Raises:
        OSError: it cannot be made.
        ValueError: it is no path.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))


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


@contextmanager
def exclusive_lock(
    folder: Path, *, wait_s: float = _WRITING_S, clock: Clock | None = None
) -> Iterator[None]:
    """Be the only one in a folder who asks for this, in any process, while the block runs.

    Raises:
        DataError: there is no such folder.
        InUseError: somebody else is still at it after `wait_s`.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        lock_alone(descriptor, folder, wait_s=wait_s, clock=clock)
        if not folder.exists() or not os.path.samestat(folder.stat(), os.fstat(descriptor)):
            raise DataError(f"{folder}: was taken away by whoever had it before; try again")
        yield
    finally:
        os.close(descriptor)


def lock_alone(
    descriptor: int, path: Path, *, wait_s: float = _WRITING_S, clock: Clock | None = None
) -> None:
    """Keep all others who ask for this from an open file or folder, until it is closed.

    Where there are no locks (Windows, some network file systems) nobody is kept out.

    Args:
        descriptor: opened for this alone: threads that share one do not wait for each other.
        path: what a message calls it.
        wait_s: for whoever has it.
        clock: see `Clock`.

    Raises:
        InUseError: somebody else still has it.
    """
    try:
        import fcntl

        alone = try_lock(descriptor, fcntl.LOCK_EX, wait_s, clock or SystemClock())
    except (ImportError, OSError):
        return
    if not alone:
        raise InUseError(f"{path}: is in use: another process is writing it")
