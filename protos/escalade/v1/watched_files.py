"""Says when files have changed, by a look now and then; knows no format, and reads none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

#: How often the files are looked at, at most, in seconds: one `stat` for each of them.
LOOK_EVERY_S = 1.0

#: Of each file where it lies, when it was last changed, and its size; None of one that cannot be
#: looked at. Inode and time of the last change of it say that a file was replaced, though its own
#: time and size may be as before.
Seen = list[tuple[int, int, int, int, int] | None]


def look(paths: Sequence[Path]) -> Seen:
    """What lies there, all links followed: another where a file was changed or replaced."""
    return [_signature(path) for path in paths]


class WatchedFiles:
    """Files as they were last seen; of one thread at a time."""

    def __init__(self, paths: Sequence[Path], now_s: Callable[[], float]) -> None:
        """Look, before they are read: what changes meanwhile is then a change.

        Args:
            paths: of the files, there or not.
            now_s: seconds, monotonic.
        """
        self._paths, self._now_s = paths, now_s
        self._seen, self._due_s = look(paths), now_s() + LOOK_EVERY_S

    def are_due(self) -> bool:
        """Whether it is time to look; any thread may ask."""
        return self._now_s() >= self._due_s

    def changed(self) -> bool:
        """Look: whether they are others than the last time."""
        self._due_s = self._now_s() + LOOK_EVERY_S
        before, self._seen = self._seen, look(self._paths)
        return self._seen != before

    def forget(self) -> None:
        """Have the next look find them changed."""
        self._seen = []


def _signature(path: Path) -> tuple[int, int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    changed = status.st_ctime_ns, status.st_mtime_ns
    return status.st_dev, status.st_ino, *changed, status.st_size
