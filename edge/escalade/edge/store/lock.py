"""One who changes a store at a time; knows no version.

Who may not write to the store cannot open its lock, and so keeps nobody from changing it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from escalade.edge.base import Clock, check_replaceable, try_lock
from escalade.edge.errors import StoreError

_LOCK = "escalade.lock"
# Under the lock there are renames and deletions: milliseconds, or seconds on a slow, full card.
_WAIT_S = 30.0


@contextmanager
def locked(folder: Path, waiting: Callable[[], None], clock: Clock) -> Iterator[None]:
    """Make the folder if it is not there, and hold its lock.

    Raises:
        DataError: something else than a store is there.
        StoreError: somebody else does not come to an end; or see `failing`.
    """
    check_replaceable(folder, _LOCK)
    with failing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _open(folder)
        try:
            if not try_lock(lock, fcntl.LOCK_EX, 0.0, clock):
                waiting()
                if not try_lock(lock, fcntl.LOCK_EX, _WAIT_S, clock):
                    raise StoreError(
                        f"{folder / _LOCK}: held by another process for {_WAIT_S:.0f} s; the"
                        " current version is as it was"
                    )
            yield
        finally:
            os.close(lock)


@contextmanager
def failing(folder: Path) -> Iterator[None]:
    """Say of any OSError inside the block what it means for a store, as a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: {error.strerror or error};"
            " the current version is as it was"
        ) from error


def _open(folder: Path) -> int:
    """The lock, open to those who may write to the folder."""
    writers = folder.stat().st_mode & 0o222
    mode = writers | writers << 1  # to read and to write
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)
    with suppress(PermissionError):  # another writer's, who has seen to it
        os.fchmod(lock, mode)
    return lock
