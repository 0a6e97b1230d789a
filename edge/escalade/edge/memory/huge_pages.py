"""Has memory that is read over and over lie in huge pages; knows no model, no tensor.

Where a page lies a processor looks up in a table, of which it has a few thousand entries at hand.
Weights in pages of 4 KiB are many times that, and each token reads them all. What is in memory can
be moved to pages of 2 MiB, 512 times fewer (Linux 6.1 on; man 2 madvise, MADV_COLLAPSE).
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from escalade.edge.memory.pages import madvise

_MAPS, _PAGES = Path("/proc/self/maps"), Path("/proc/self/pagemap")
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
# Of all, the one that holds: an administrator may forbid them.
_FORBIDDEN = "[never]"
_MADV_COLLAPSE = 25  # sys/mman.h
# Of a mapping that this process alone reads and writes, and no file (man 5 proc_pid_maps).
_OWN, _NO_INODE, _HEAP = "rw-p", "0", ("[heap]",)
# One entry a page; its last bit says whether it is in memory (man 5 proc_pid_pagemap).
_ENTRY, _PRESENT = np.dtype("<u8"), np.uint64(63)
# Less, and what nobody wrote to takes memory too. From here on it is half a megabyte of the 196
# that SmolLM2-135M takes in 4 bits.
_LEAST_FULL = 0.9


class Stretch(NamedTuple):
    """Addresses."""

    first: int
    end: int


class Entries(Protocol):
    """A file of them."""

    def seek(self, at: int, /) -> int:
        """Go there."""
        ...

    def read(self, count: int, /) -> bytes | None:
        """So many bytes at most."""
        ...


def take_huge_pages() -> int:
    """Move what this process holds of its own, and is nearly full, to huge pages.

    It takes as long as to copy it. Nothing happens where the system has none, or forbids them.

    Returns:
        How many bytes lie in such pages since.
    """
    taken = 0
    # No such file, or function.
    with contextlib.suppress(OSError, AttributeError, TypeError, ValueError):
        if _FORBIDDEN in (_SETTINGS / "enabled").read_text():
            return 0
        huge = int((_SETTINGS / "hpage_pmd_size").read_text())
        advise = madvise()
        with _PAGES.open("rb", buffering=0) as entries:
            for mapped in own(_MAPS.read_text()):
                for first, end in full(mapped, huge, entries):
                    taken += (end - first) * (advise(first, end - first, _MADV_COLLAPSE) == 0)
    return taken


def own(maps: str) -> list[Stretch]:
    """What a process holds of its own, of its `maps`."""
    found = []
    for line in maps.splitlines():
        addresses, may, _, _, inode, *name = line.split()
        if (may, inode) == (_OWN, _NO_INODE) and tuple(name) in {(), _HEAP}:
            first, _, end = addresses.partition("-")
            found.append(Stretch(int(first, 16), int(end, 16)))
    return found


def full(mapped: Stretch, huge: int, entries: Entries) -> Iterator[Stretch]:
    """Yield what of it huge pages can hold, and is nearly full, in as few pieces as there are.

    Args:
        mapped: of pages as the system has them.
        huge: bytes of a huge page, and where one may begin.
        entries: of all pages from address 0 on.
    """
    pages = huge // mmap.PAGESIZE
    begun = None
    at = -(-mapped.first // huge) * huge
    while at + huge <= mapped.end:
        entries.seek(at // mmap.PAGESIZE * _ENTRY.itemsize)
        held = np.frombuffer(entries.read(pages * _ENTRY.itemsize) or b"", _ENTRY) >> _PRESENT
        if held.sum() >= _LEAST_FULL * pages:
            begun = at if begun is None else begun
        elif begun is not None:
            yield Stretch(begun, at)
            begun = None
        at += huge
    if begun is not None:
        yield Stretch(begun, at)
