"""Names beside what is in the making, held while their writer lives; knows no format.

    .NAME.escalade-XXXXXXXX.tmp    a file or folder that is to become NAME

Who is killed leaves its own there. The next writer of NAME takes away those that nobody holds: a
lock is flock(2), which whoever dies lets go. Where there are no locks, nothing is taken away.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# Of a name, so that the one aside is no longer than a file system takes (255 bytes).
_KEPT_OF_NAME = 48
_RANDOM_BYTES = 4


def file_beside(target: Path, mode: int) -> tuple[Path, int]:
    """Make a file in the same folder, open for writing, and held until that is closed.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(target)
    while True:
        path = _name_beside(target)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        if _hold(path, descriptor):
            return path, descriptor
        os.close(descriptor)


@contextmanager
def folder_beside(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """Make a folder in the same folder; what is there under its name goes when the block ends.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(target)
    descriptor = None
    while True:
        path = _name_beside(target)
        path.mkdir(mode=mode)
        with suppress(OSError):  # Windows opens no folders, and locks none
            descriptor = os.open(path, os.O_RDONLY)
        if _hold(path, descriptor):
            break
        if descriptor is not None:
            os.close(descriptor)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _name_beside(target: Path) -> Path:
    random = secrets.token_hex(_RANDOM_BYTES)
    return target.with_name(f".{target.name[:_KEPT_OF_NAME]}.escalade-{random}.tmp")


def _hold(path: Path, descriptor: int | None) -> bool:
    """Lock what was just made; False where somebody who sweeps was faster.

    Shared, as readers lock a folder that they open: only who sweeps wants it alone.
    """
    try:
        import fcntl

        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # there are no locks here: nobody sweeps either
        return True
    return path.exists()


def _sweep(target: Path) -> None:
    """Take away what writers of `target` left that live no more."""
    random = f"[0-9a-f]{{{2 * _RANDOM_BYTES}}}"
    ours = re.compile(re.escape(f".{target.name[:_KEPT_OF_NAME]}.escalade-") + random + r"\.tmp")
    with suppress(OSError, ImportError):  # such as a folder that may not be listed
        import fcntl

        owners = {os.geteuid(), *([target.stat().st_uid] if target.exists() else [])}
        with os.scandir(target.parent) as entries:
            left = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]
        for path in left:
            with suppress(OSError), ExitStack() as opened:
                # Neither through a link nor waiting for a pipe's other end.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                opened.callback(os.close, descriptor)
                found = os.fstat(descriptor)
                if found.st_uid not in owners:
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISDIR(found.st_mode):
                    shutil.rmtree(path)
                elif stat.S_ISREG(found.st_mode):
                    path.unlink()
