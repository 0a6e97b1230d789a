"""Which mapped files hold what they do on disk, of what a system says; and that they go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from escalade.edge.memory.pages import Mapped, unwritten

# A process of its own: how much of files it holds before and after, and whether it goes on.
_DROPPED = """
import numpy as np
from escalade.edge.memory import drop_pages

def of_files():
    for line in open("/proc/self/status"):
        if line.startswith("RssFile:"):
            return 1024 * int(line.split()[1])

before = of_files()
drop_pages(lambda mapped: mapped.of_code)
after = of_files()
print(before - after, float(np.ones(1000) @ np.ones(1000)))
"""


def smaps(*blocks: tuple[int, str, str, int, int]) -> str:
    """Of pages at an address: what may be done there, the inode, kB written, kB swapped out."""
    return "".join(
        f"{first:x}-{first + 0x1000:x} {may} 00000000 fe:00 {inode}   /{inode}\nRss:   4 kB\n"
        f"Anonymous:   {written} kB\nAnonHugePages:   0 kB\nSwap:   {swapped} kB\n"
        "SwapPss:   0 kB\nLocked:   0 kB\nVmFlags: rd wr mr mw me\n"
        for first, may, inode, written, swapped in blocks
    )


def test_a_page_that_was_written_to_and_swapped_out_is_no_longer_the_files() -> None:
    said = smaps(
        (0x1000, "rw-p", "31", 0, 0),
        (0x2000, "rw-p", "31", 4, 0),
        (0x3000, "rw-p", "31", 0, 4),
        (0x4000, "rw-p", "0", 0, 0),
        (0x5000, "rw-p", "32", 0, 0),
    )
    assert unwritten(said.splitlines()) == [
        Mapped(0x1000, 0x2000, "/31", of_code=False),
        Mapped(0x5000, 0x6000, "/32", of_code=False),
    ]


def test_what_may_be_written_to_is_not_of_code_and_constants_beside_it_are() -> None:
    said = smaps(
        (0x1000, "r--p", "31", 0, 0),
        (0x2000, "r-xp", "31", 0, 0),
        (0x3000, "r--p", "31", 4, 0),
        (0x4000, "rw-p", "31", 0, 0),
        (0x5000, "r--s", "32", 0, 0),
    )
    assert [(one.first, one.of_code) for one in unwritten(said.splitlines())] == [
        (0x1000, True),
        (0x2000, True),
        (0x4000, False),
        (0x5000, False),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_code_that_was_dropped_is_read_again_where_it_is_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DROPPED], check=True, capture_output=True, text=True
    )
    less, product = map(float, done.stdout.split())
    assert less > 1 << 20
    assert product == 1000
