"""Gives back the pages of mapped files that were read; knows no model, no tensor."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_SMAPS = Path("/proc/self/smaps")
# The line that begins a mapping: addresses, what may be done there, the inode of the file, 0 of
# none, and its path (man 5 proc_pid_smaps).
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")
_WRITABLE, _RUNS = "w", "x"
# kB of pages that are no longer the file's: in memory, and written out of it since, which the first
# no longer counts.
_WRITTEN = ("Anonymous:", "Swap:")
_MADV_DONTNEED = 4  # sys/mman.h


class Mapped(NamedTuple):
    """Addresses that a file is mapped to."""

    first: int
    end: int
    #: With ` (deleted)` behind it where it is no longer there.
    path: str
    #: Whether it is of a program or a library, and nobody may write to it.
    of_code: bool


def can_drop_pages() -> bool:
    """Whether this system says what is mapped."""
    return _SMAPS.is_file()


def drop_pages(wanted: Callable[[Mapped], bool]) -> int:
    """Have files that are mapped lie on disk alone until they are read again.

    What was read of them stays in memory otherwise, whoever reads it still. A file of which a page
    was written to, here alone, stays as it is. Outside Linux this does nothing.

    Args:
        wanted: whether a mapping is one of those.

    Returns:
        How many bytes of addresses were dropped.
    """
    dropped = 0
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no such file, or function
        advise = madvise()
        with _SMAPS.open() as lines:  # some hundred kilobytes, which are not to stay in holes
            found = unwritten(lines)
        for mapped in found:
            if wanted(mapped):
                length = mapped.end - mapped.first
                dropped += length * (advise(mapped.first, length, _MADV_DONTNEED) == 0)
    return dropped


def madvise() -> Callable[[int, int, int], int]:
    """The C library's (man 2 madvise): of an address, a length and an advice, 0 where it is taken.

    Raises:
        AttributeError, OSError, TypeError: there is none.
    """
    found = ctypes.CDLL(None).madvise
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found


def unwritten(smaps: Iterable[str]) -> list[Mapped]:
    """Those that hold what their files do, of the lines of a process's `smaps`."""
    found: dict[tuple[int, int, str, str], int] = {}  # how many of the lines say so
    runs: set[str] = set()
    last = None
    for line in smaps:
        if begun := _MAPPING.match(line.rstrip("\n")):
            first, end, may, inode, path = begun.groups()
            last = (int(first, 16), int(end, 16), path, may) if int(inode) else None
            if _RUNS in may:
                runs.add(path)
        elif last is not None and line.startswith(_WRITTEN) and int(line.split()[1]) == 0:
            found[last] = found.get(last, 0) + 1
    return [
        Mapped(first, end, path, of_code=path in runs and _WRITABLE not in may)
        for (first, end, path, may), lines in found.items()
        if lines == len(_WRITTEN)
    ]
