"""Writes folders aside and renames them whole; knows no format.

A reader sees the old content or the new, never half of either. A link to a folder stays, and the
folder it leads to is replaced; the umask holds for what is new, and what was there keeps its mode.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from escalade.edge.base.aside import folder_beside
from escalade.edge.base.writing import check_creatable, keep_owner_and_mode
from escalade.edge.errors import DataError, NoRoomError

# Linux, include/uapi/linux/fcntl.h and fs.h.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What a write to a full disk raises, which names no file.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
        DataError: see `check_replaceable`.
        NoRoomError: there is no room for what the block writes; says how much there was room for.
    """
    check_replaceable(path, marker)
    target = path.resolve()
    with ExitStack() as held:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                old = target.stat()
                aside = held.enter_context(folder_beside(target, stat.S_IMODE(old.st_mode)))
                keep_owner_and_mode(aside, old)
            else:
                aside = held.enter_context(folder_beside(target))
        except OSError as error:
            kind = NoRoomError if error.errno in _NO_ROOM else DataError
            raise kind(f"{path}: cannot be written: {error.strerror}") from error
        try:
            yield aside
            _keep_modes(aside, target)
            _swap(aside, target)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise NoRoomError(
                f"{path}: cannot be written: {error.strerror} after {_bytes_in(aside):,} bytes"
            ) from error


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _keep_modes(new: Path, old: Path) -> None:
    """Give files the modes of those of the same names that they replace."""
    for path in new.rglob("*"):
        was = old / path.relative_to(new)
        if path.is_file() and was.is_file() and path.stat().st_mode != was.stat().st_mode:
            path.chmod(stat.S_IMODE(was.stat().st_mode))


def _swap(aside: Path, path: Path) -> None:
    """Put `aside` in the place of `path`; what was there goes."""
    if exchange(aside, path):
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
        if not exchange(aside, path):  # somebody else has just made the first one
            raise
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Give two files or folders each other's names in one step; a reader sees no moment between.

    Returns:
        Whether it was done: False, with nothing changed, where one is missing, or the system or
        the file system cannot (Linux 3.15 or later can, on its usual file systems; see
        renameat2(2)).
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
        DataError: something is at `path` that is neither empty nor holds `marker`, a file system
            is mounted there, or the folder it is in takes no new ones.
    """
    try:
        if path.exists():
            if not (path.is_dir() and (_empty(path) or (path / marker).is_file())):
                raise DataError(
                    f"{path}: is there and holds no {marker}; name another, or remove it"
                )
            if path.is_mount():
                raise DataError(
                    f"{path}: is a mount point, which cannot be replaced; name a folder in it"
                )
        check_creatable(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DataError(f"{path}: cannot be written: {error}") from error


def check_fillable(path: Path) -> None:
    """Refuse a folder that takes no files, or cannot be made, for a caller who is to write some.

    Raises:
        DataError: it is something else, or takes no new files; or the folder it is to be made in.
    """
    try:
        if not path.exists():
            check_creatable(path)
        elif not path.is_dir():
            raise DataError(f"{path}: is no folder; a folder's name is needed")
        elif not os.access(path, os.W_OK | os.X_OK):
            raise DataError(f"{path}: takes no new files: {os.strerror(errno.EACCES)}")
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DataError(f"{path}: cannot be written: {error}") from error


def _empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None
