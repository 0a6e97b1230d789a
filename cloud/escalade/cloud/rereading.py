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
from escalade.v1.watched_files import WatchedFiles

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


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
        self._paths, self._read = paths, read
        self._looking = threading.Lock()
        self._files = WatchedFiles(paths, clock)
        self._value = read()
        _ALL.add(self)

    def current(self) -> T:
        """The value, looked after if it is time to."""
        if self._files.are_due() and self._looking.acquire(blocking=False):
            try:
                self._read_again()
            finally:
                self._looking.release()
        return self._value

    def read_now(self) -> None:
        """Read, whether anything has changed or not."""
        with self._looking:
            self._files.forget()
            self._read_again()

    def _read_again(self) -> None:
        if not self._files.changed():
            return
        names = ", ".join(map(str, self._paths))
        try:
            self._value = self._read()
        except StartError as error:
            _LOG.warning("%s; what was read before stands", error)
        else:
            _LOG.info("%s: read again", names)


# A signal is the process's, and whoever gets one knows no server's files.
_ALL: WeakSet[Reread[Any]] = WeakSet()


def read_all_now() -> None:
    """Read every file of this process again that is read again when it changes."""
    for one in [*_ALL]:
        one.read_now()
