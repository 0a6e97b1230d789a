"""Writes a file whole, whatever its name stands for; knows no format.

What is a regular file, or not there yet, is written aside and renamed: a reader sees the old
content or the new, never half of either. A link stays, and the file it leads to is written so. What
cannot be replaced, or is not ours to replace (a device, a pipe, a file of another owner or in a
folder that takes no new files), is written through its name once its content is whole. The umask
holds for new files; an old one keeps its mode and its owner.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from escalade.edge.base.aside import file_beside
from escalade.edge.errors import DataError

# What a full disk, a quota, a limit or a broken disk says of a write.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# As many links as Linux follows (path_resolution(7)).
_MOST_LINKS = 40
# A report or a short trace: a device may have no folder for temporary files.
_MOST_IN_MEMORY_BYTES = 1 << 24


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Give a stream; its content is at `path` when the block ends well, and nowhere otherwise.

    Raises:
        DataError: see `check_writable`.
        OSError: there is no room for it; with its name.
    """
    check_writable(path)
    try:
        with _written(path) as stream:
            yield stream
    except OSError as error:
        # A stream does not say whose it is.
        if error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(path)
        raise


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    descriptor, target = _own_descriptor(path), path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = None if descriptor is not None else _beside(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    if aside is None:
        with tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY_BYTES) as stream:
            yield stream
            stream.seek(0)
            with _through(path, descriptor) as sink:
                shutil.copyfileobj(stream, sink)
        return
    name, made = aside
    try:
        with made as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if os.name == "posix":
                name.replace(target)  # while it is held: it is nobody's to take away
        if os.name != "posix":  # where what is open cannot be renamed
            name.replace(target)
    finally:
        name.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse what `atomic_write` would refuse, for a caller whose work takes hours; write nothing.

    Raises:
        DataError: `path` is a folder or a socket, may not be written, or its folder takes no files.
    """
    try:
        descriptor = _own_descriptor(path)
        if descriptor is not None:
            os.write(descriptor, b"")  # fails where it is open for reading only
            return
        if not path.exists():
            check_creatable(path)
            return
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a folder; a file's name is needed")
        if stat.S_ISSOCK(mode):
            raise DataError(f"{path}: is a socket, which cannot be opened; a file's name is needed")
        if not os.access(path, os.W_OK):
            raise DataError(f"{path}: cannot be written: {os.strerror(errno.EACCES)}")
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise _unwritable(path, error) from error


def check_creatable(path: Path) -> None:
    """Refuse the name of what is not there yet where its folder, or the one to make it in, is shut.

    Raises:
        DataError: the folder is something else, or takes no new files.
        OSError: it cannot be looked at.
    """
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{path}: cannot be written: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{path}: cannot be written: {folder} takes no new files")


def keep_owner_and_mode(new: Path, old: os.stat_result) -> bool:
    """Give a new file or folder the owner and the mode of an old one; whether that was possible."""
    try:
        made = new.stat()
        if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
            os.chown(new, old.st_uid, old.st_gid)
        if made.st_mode != old.st_mode:
            new.chmod(stat.S_IMODE(old.st_mode))
    except OSError:
        return False
    return True


def _beside(target: Path) -> tuple[Path, IO[bytes]] | None:
    """A new file that may take the place of `target`; None where it is to be written through.

    Raises:
        OSError: it is not there and cannot be made, or there is no room for it.
    """
    old = target.stat() if target.exists() else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        return None
    try:
        # Never wider than the old one, not even before its mode is set.
        mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o666
        name, descriptor = file_beside(target, mode)
    except OSError as error:
        # Where there is no room for a name the old content is not given for half of the new.
        if old is None or error.errno in _NO_ROOM:
            raise
        return None
    if old is not None and not keep_owner_and_mode(name, old):
        os.close(descriptor)
        name.unlink()
        return None
    return name, os.fdopen(descriptor, "wb")


def _through(path: Path, descriptor: int | None) -> IO[bytes]:
    if descriptor is None:
        # Without O_CREAT, which Linux refuses in a sticky folder (protected_regular, proc(5)).
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb")
    return os.fdopen(os.dup(descriptor), "wb")  # goes on where others of its writers were


def _own_descriptor(path: Path) -> int | None:
    """Which open file of this process a name such as /dev/stdout or /dev/fd/3 stands for."""
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return None
        folder = path.parent.resolve()
        if folder == Path(f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        path = folder / path.readlink()
    return None


def _unwritable(path: Path, error: OSError | RuntimeError) -> DataError:
    why = error.strerror if isinstance(error, OSError) else "links in a circle"
    return DataError(f"{path}: cannot be written: {why}")
