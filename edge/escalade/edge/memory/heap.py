"""Has the C library give memory back that was freed; knows no model.

glibc takes large blocks from the system one by one, and returns them when they are freed; the rest
lies in one heap, which shrinks at its end alone. What is large it learns: whenever such a block is
freed, all up to its size go into the heap from then on, up to 32 MiB (man 3 mallopt,
M_MMAP_THRESHOLD). What a tokenizer's file and a program take while they are read thus stays, in
holes that nothing fills: 16 MB of SmolLM2-135M (`python -m benchmarks.resident`).
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

_M_MMAP_THRESHOLD = -3  # malloc.h
# A token allocates nothing so large: it takes as long as before.
_LARGE_BYTES = 1 << 20
# By which users say themselves what is large.
_SET_BY_USERS = "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


@cache
def return_large_blocks() -> bool:
    """Have blocks from 1 MiB on go back to the system when they are freed, in this process.

    Once is enough. Nothing happens where there is no glibc, or where the environment says of its
    allocator what it likes.

    Returns:
        Whether they do.
    """
    if any(name in os.environ for name in _SET_BY_USERS):
        return False
    library = _glibc()
    return library is not None and bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))


def return_holes() -> None:
    """Give back whole pages that are free between blocks in use, where there is glibc.

    It goes over the whole heap: for who has just freed much of it (man 3 malloc_trim).
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        # musl and others have no allocator of glibc's under the name.
        library.gnu_get_libc_version  # noqa: B018
    except (AttributeError, OSError, TypeError):  # no such library, or function
        return None
    return library
