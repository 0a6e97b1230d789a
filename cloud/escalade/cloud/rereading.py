"""A value that files say, read again when they change; knows no format, no server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from escalade.cloud.backends import Clock
from escalade.cloud.errors import StartError

_LOG = logging.getLogger(__name__)

#: How often the files are looked at, at most: one `stat` for each of them.
LOOK_EVERY_S = 1.0

T = TypeVar("T")

# Inode and time of the last change of it say that a file was replaced, though its own time and
# size may be as before; None is a file that is not there.
_Seen = list[tuple[int, int, int, int] | None]


class Reread(Generic[T]):
    """What files say now, as far as it could be read; for any thread.

    What cannot be read (half a file, a certificate without its key yet) leaves what was read
    before, and is said once in the log.

    Args:
        paths: whose change means that they are to be read again.
        read: makes the value of them; raises a StartError where it cannot.
        clock: seconds, monotonic.

    Raises:
        StartError: what `read` raises the first time.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T], clock: Clock) -> None:
        self._paths, self._read, self._clock = paths, read, clock
        self._looking = threading.Lock()
        # Before they are read: what changes meanwhile is then a change.
        self._seen = self._look()
        self._value = read()
        self._due_s = clock() + LOOK_EVERY_S
        _ALL.add(self)

    def current(self) -> T:
        """The value, looked after if it is time to."""
        if self._clock() >= self._due_s and self._looking.acquire(blocking=False):
            try:
                self._read_again()
            finally:
                self._looking.release()
        return self._value

    def read_now(self) -> None:
        """Read, whether anything has changed or not."""
        with self._looking:
            self._seen = []
            self._read_again()

    def _read_again(self) -> None:
        self._due_s = self._clock() + LOOK_EVERY_S
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        names = ", ".join(map(str, self._paths))
        try:
            self._value = self._read()
        except StartError as error:
            _LOG.warning("%s; what was read before stands", error)
        else:
            _LOG.info("%s: read again", names)

    def _look(self) -> _Seen:
        return [_signature(path) for path in self._paths]


# A signal is the process's, and whoever gets one knows no server's files.
_ALL: WeakSet[Reread[Any]] = WeakSet()


def read_all_now() -> None:
    """Read every file of this process again that is read again when it changes."""
    for one in [*_ALL]:
        one.read_now()


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size
