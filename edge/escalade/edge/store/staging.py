"""Where one installation builds a version, beside others that do the same; knows no source.

    STORE/.partial-XXXX/SHA256      what has come so far of a file with that digest
    STORE/.partial-XXXX/artifact/   the version, as far as it is built

The folder is its maker's alone, held while the maker lives and closed to other users: nobody
waits for another's download. One that failed or was killed leaves it, and the next installation
goes on from what lies in it.
"""

from __future__ import annotations

import errno
import shutil
import stat
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from escalade.edge.base import is_held, shared_lock
from escalade.edge.store.store import PARTIAL, Store

#: The version that is being built.
ARTIFACT = "artifact"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def staging_in(
    store: Store, digests: Container[str], waiting: Callable[[], None]
) -> Iterator[Path]:
    """A folder to build a version in: its `artifact`; what is fetched lies beside that.

    After an error what was fetched stays for the next attempt, unless the disk is full.

    Args:
        store: is locked for a moment, to take over what others left.
        digests: of the files that are wanted.
        waiting: see `Store.changing`.

    Raises:
        OSError: it cannot be written.
        StoreError: see `Store.changing`.
    """
    with ExitStack() as held:
        with store.changing(waiting):
            # mkdtemp's are closed to others (0700): whoever may read a folder could hold it.
            made = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}-", dir=store.folder))
            folder = held.enter_context(shared_lock(made))
            _take_over(store, folder, digests)
        try:
            (folder / ARTIFACT).mkdir()
            yield folder
        except OSError as error:
            if error.errno in _NO_ROOM:  # a full disk must not stay full of half an artifact
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(folder / ARTIFACT, ignore_errors=True)
            with suppress(OSError):  # where something was fetched, or all of it is gone
                folder.rmdir()


def _take_over(store: Store, folder: Path, digests: Container[str]) -> None:
    """Move what others left of the wanted files; of two of one digest the longer."""
    for left in sorted(store.folder.glob(f"{PARTIAL}*")):
        if left == folder or not left.is_dir() or is_held(left):
            continue
        for path in left.iterdir():
            mine, found = folder / path.name, path.lstat()
            if path.name not in digests or not stat.S_ISREG(found.st_mode):
                continue
            if not mine.exists() or mine.stat().st_size < found.st_size:
                path.replace(mine)
