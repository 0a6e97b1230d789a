"""Says how many threads torch computes with, where sums would hang on it; knows no model.

What threads share they add up in the order in which they are done, or by as many parts as there
are threads: the last bits of a sum are then others, and by them now and then an integer.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from escalade.export.memory import trim


@contextmanager
def one_thread() -> Iterator[int]:
    """Has torch compute with one; yields how many it had, and has again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def threads_apart(most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, each with one of its own; no more than `most`.

    For what is too little to share: a matrix's column is rounded at a time, and two threads on one
    took three to ten times the processor time of one, waiting for each other, where others wanted
    the cores.
    """
    with one_thread() as threads:
        workers = threads if most is None else min(threads, most)
        with ThreadPoolExecutor(workers, "", torch.set_num_threads, (1,)) as pool:
            yield pool
    trim()
