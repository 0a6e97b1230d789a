"""Counts the cores that a model may keep busy; knows no runtime."""

from __future__ import annotations

import os
from pathlib import Path

from escalade.edge.errors import ArtifactError

# Decoding waits for memory, which a few cores saturate; more would only take them from the
# rest of a small device. A Raspberry Pi 5 reads a prompt fastest with all of its four.
_MOST_THREADS = 4
# More cores than a device has. Starting 100000 threads takes minutes.
_MAX_THREADS = 256
_SYS_CPU = Path("/sys/devices/system/cpu")


def default_threads() -> int:
    """How many threads a model gets unless somebody says: its physical cores, at most 4."""
    return min(physical_cores(), _MOST_THREADS)


def threads_of(asked: int) -> int:
    """How many threads compute where somebody asks for so many; 0 asks for none.

    Raises:
        ArtifactError: no device has so many, or it is below 0.
    """
    if not 0 <= asked <= _MAX_THREADS:
        raise ArtifactError(f"threads must be in [0, {_MAX_THREADS}], got {asked}")
    return asked or default_threads()


def physical_cores(root: Path = _SYS_CPU) -> int:
    """The cores this process may run on, those that share one core's units counted once.

    Args:
        root: where Linux describes its processors; where it cannot be read, each counts.
    """
    cores = set()
    for cpu in _usable():
        try:
            siblings = (root / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            siblings = str(cpu)
        cores.add(siblings)
    return len(cores)


def _usable() -> set[int]:
    if hasattr(os, "sched_getaffinity"):  # not on macOS, not on Windows
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
