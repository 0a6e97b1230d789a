"""Freed memory goes back to the system, in a process that asks for it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

# Large blocks between small ones that stay; the first teaches glibc that such are nothing large.
_FREES = """
import sys
from escalade.edge.memory import return_holes, return_large_blocks


def resident():
    return 4096 * int(open("/proc/self/statm").read().split()[1])


asked = sys.argv[1] == "asked" and return_large_blocks()
taught = b"x" * 8_000_000
del taught
before = resident()
large, small = [], []
for _ in range(40):
    large.append(b"x" * 1_500_000)
    small.append(b"x" * 100_000)
large.clear()
held = resident() - before
return_holes()
print(asked, held, resident() - before)
"""
_GLIBC = hasattr(ctypes.CDLL(None), "gnu_get_libc_version") if os.name == "posix" else False


def _held(*, asked: bool, **environment: str) -> tuple[bool, int, int]:
    command = [sys.executable, "-c", _FREES, "asked" if asked else "not"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | environment
    )
    said, held, left = done.stdout.split()
    return said == "True", int(held), int(left)


@pytest.mark.skipif(not _GLIBC or sys.platform != "linux", reason="glibc's allocator")
def test_large_blocks_go_back_where_it_is_asked_for() -> None:
    asked, held, _ = _held(asked=True)
    assert asked
    assert held < 10_000_000
    asked, held, left = _held(asked=False)
    assert not asked
    assert held > 40_000_000
    assert left < 10_000_000  # holes that were given back


def test_who_sets_the_allocator_is_heard() -> None:
    asked, *_ = _held(asked=True, MALLOC_MMAP_THRESHOLD_="33554432")
    assert not asked
