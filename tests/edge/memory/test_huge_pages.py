"""What is full of a process lies in huge pages when it is asked for, and is what it was."""

from __future__ import annotations

import io
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.memory.huge_pages import Stretch, full, own

_PAGE = mmap.PAGESIZE
_HUGE = 4 * _PAGE
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
# A block that no huge page is advised for, and what the system says of it.
_TAKES = """
import mmap
from escalade.edge.memory import take_huge_pages


def huge():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


full = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
text = bytes(range(256)) * (len(full) // 256)
full.write(text)
before = huge()
taken = take_huge_pages()
assert full[:] == text
print(before, taken, huge())
"""


def _takes() -> bool:
    try:
        settings = (_SETTINGS / "enabled").read_text()
        release = Path("/proc/sys/kernel/osrelease").read_text()
    except OSError:
        return False
    return "[never]" not in settings and tuple(map(int, release.split(".")[:2])) >= (6, 1)


@pytest.mark.skipif(not _takes(), reason="this system moves nothing to huge pages")
def test_what_is_full_lies_in_huge_pages_and_is_what_it_was() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TAKES], check=True, capture_output=True, text=True
    )
    before, taken, after = map(int, done.stdout.split())
    # All but the huge pages that it begins and ends in.
    assert taken >= 12 << 20
    assert after - before >= 12 << 20


def test_of_a_process_only_what_no_file_and_no_other_process_has() -> None:
    maps = """\
00400000-00500000 r-xp 00000000 fe:00 260131   /usr/bin/python
01000000-02000000 rw-p 00000000 00:00 0        [heap]
02000000-03000000 rw-p 00000000 fe:00 260132   /some/file
03000000-04000000 rw-s 00000000 00:01 7        /dev/zero (deleted)
04000000-05000000 rw-p 00000000 00:00 0
05000000-06000000 ---p 00000000 00:00 0
06000000-07000000 rw-p 00000000 00:00 0        [stack]
"""
    assert own(maps) == [Stretch(0x1000000, 0x2000000), Stretch(0x4000000, 0x5000000)]


@pytest.mark.parametrize(
    ("first", "end", "missing", "expected"),
    [
        (0, 16, (), [(0, 16)]),
        # Not from where a huge page begins, nor to where one ends.
        (1, 15, (), [(4, 12)]),
        (1, 7, (), []),
        # One that is half empty, between others and at the end.
        (0, 16, (5, 6), [(0, 4), (8, 16)]),
        (0, 16, (13,), [(0, 12)]),
        (0, 16, range(16), []),
    ],
)
def test_what_huge_pages_can_hold_is_whole_and_full(
    first: int, end: int, missing: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    entries = np.full(16, 1 << 63, "<u8")
    entries[list(missing)] = 1 << 61  # of a file
    found = full(Stretch(first * _PAGE, end * _PAGE), _HUGE, io.BytesIO(entries.tobytes()))
    assert list(found) == [Stretch(first * _PAGE, end * _PAGE) for first, end in expected]


def test_a_file_that_ends_early_says_that_nothing_is_there() -> None:
    assert list(full(Stretch(0, _HUGE), _HUGE, io.BytesIO(b""))) == []
