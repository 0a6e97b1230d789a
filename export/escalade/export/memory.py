"""Gives memory that nobody needs any more back to the system; knows no model."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

# The line that begins a mapping: addresses, and the inode of the file, 0 of none (man 5
# proc_pid_smaps).
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)")
# kB of pages that are no longer the file's: in memory, and written out of it since, which the first
# no longer counts.
_WRITTEN = ("Anonymous:", "Swap:")
_MADV_DONTNEED = 4  # sys/mman.h


def give_back() -> None:
    """Collect what is unreachable, and have glibc return the pages that are free.

    Elsewhere the second does nothing. After a model of 135M has written its text, glibc holds 200
    MB of keys and values that nobody reads any more, in pieces too small for what comes next.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Have glibc return the pages that are free: a thread that ended leaves its own behind."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no such library, or function
        ctypes.CDLL(None).malloc_trim(0)


def drop_pages(tensors: Iterable[Tensor]) -> int:
    """Have tensors that are mapped from files lie there alone until they are read again.

    What was read of them stays in memory otherwise, whoever reads it still. A file of which a page
    was written to, here alone, stays as it is. Outside Linux this does nothing.

    Returns:
        How many bytes of addresses were dropped.
    """
    dropped = 0
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no such file, or function
        wanted = {tensor.data_ptr() for tensor in tensors}
        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for mapped in unwritten(Path("/proc/self/smaps").read_text()):
            if any(mapped.first <= one < mapped.end for one in wanted):
                length = mapped.end - mapped.first
                dropped += length * (advise(mapped.first, length, _MADV_DONTNEED) == 0)
    return dropped


class Mapped(NamedTuple):
    """Addresses that a file is mapped to."""

    first: int
    end: int


def unwritten(smaps: str) -> list[Mapped]:
    """Those that hold what their files do, of a process's `smaps`."""
    found: dict[Mapped, int] = {}  # how many of the lines say so
    last = None
    for line in smaps.splitlines():
        if begun := _MAPPING.match(line):
            first, end, inode = begun.groups()
            last = Mapped(int(first, 16), int(end, 16)) if int(inode) else None
        elif last is not None and line.startswith(_WRITTEN) and int(line.split()[1]) == 0:
            found[last] = found.get(last, 0) + 1
    return [one for one, lines in found.items() if lines == len(_WRITTEN)]
