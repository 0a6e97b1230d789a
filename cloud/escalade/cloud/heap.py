"""Gives memory back after a flood of large requests; knows no request, no server.

glibc keeps what was freed between blocks that are in use, for good: after 400 requests of 3 MB at
once a server that needs 440 MiB had 1.2 GiB. `malloc_trim` gives it back (man 3 malloc_trim). Where
there is no glibc, nothing is done.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

_EVERY_S = 2.0
# Growth from which it is worth a try, and tries until what has grown is taken to be in use.
_WORTH_BYTES, _TRIES = 32 << 20, 5

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not say."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def find_trim() -> Callable[[], object] | None:
    """What gives memory back; None where there is nothing of the kind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None or not resident_bytes() else partial(trim, 0)


async def keep_trimmed(
    trim: Callable[[], object],
    *,
    resident: Callable[[], int] = resident_bytes,
    every_s: float = _EVERY_S,
) -> None:
    """Look now and then, until cancelled.

    Args:
        trim: see `find_trim`; called in a thread, for it waits for whoever allocates.
        resident: bytes in RAM.
        every_s: how often to look.
    """
    least, tries = resident(), 0
    while True:
        await asyncio.sleep(every_s)
        now = resident()
        least = min(least, now)
        if now <= least + _WORTH_BYTES:
            tries = 0
            continue
        await asyncio.to_thread(trim)
        tries += 1
        if tries == _TRIES:  # it is in use
            least, tries = resident(), 0
