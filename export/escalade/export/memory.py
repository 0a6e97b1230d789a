"""Gives memory that nobody needs any more back to the system; knows no model."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterable

from torch import Tensor

from escalade.edge.memory import drop_pages as drop_mapped


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
    """Have tensors that are mapped from files lie there alone.

    See `escalade.edge.memory.drop_pages`.

    Returns:
        How many bytes of addresses were dropped.
    """
    read = {tensor.data_ptr() for tensor in tensors}
    return drop_mapped(lambda mapped: any(mapped.first <= one < mapped.end for one in read))
