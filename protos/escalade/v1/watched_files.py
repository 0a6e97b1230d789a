"""Says when files have changed, by a look now and then; knows no format, and reads none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

#: How often the files are looked at, at most, in seconds: one `stat` for each of them.
LOOK_EVERY_S = 1.0

# Inode and time of the last change of it say that a file was replaced, though its own time and
# size may be as before; None is a file that is not there.
_Seen = list[tuple[int, int, int, int] | None]


class WatchedFiles:
    """Files as they were last seen; of one thread at a time."""

    def __init__(self, paths: Sequence[Path], now_s: Callable[[], float]) -> None:
        """Look, before they are read: what changes meanwhile is then a change.

        Args:
            paths: of the files, there or not.
            now_s: seconds, monotonic.
        """
        self._paths, self._now_s = paths, now_s
        self._seen, self._due_s = self._look(), now_s() + LOOK_EVERY_S

    def are_due(self) -> bool:
        """Whether it is time to look; any thread may ask."""
        return self._now_s() >= self._due_s

    def changed(self) -> bool:
        """Look: whether they are others than the last time."""
        self._due_s = self._now_s() + LOOK_EVERY_S
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def forget(self) -> None:
        """Have the next look find them changed."""
        self._seen = []

    def _look(self) -> _Seen:
        return [_signature(path) for path in self._paths]


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size
