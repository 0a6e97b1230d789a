"""Which mapped files hold what they do on disk, of what a system says."""

from __future__ import annotations

from escalade.edge.base.pages import Mapped, unwritten


def test_a_page_that_was_written_to_and_swapped_out_is_no_longer_the_files() -> None:
    blocks = [
        (0x1000, "260131", 0, 0),
        (0x2000, "260131", 4, 0),
        (0x3000, "260131", 0, 4),
        (0x4000, "0", 0, 0),
        (0x5000, "260132", 0, 0),
    ]
    smaps = "".join(
        f"{first:x}-{first + 0x1000:x} rw-p 00000000 fe:00 {inode}   /one\nRss:   4 kB\n"
        f"Anonymous:   {written} kB\nAnonHugePages:   0 kB\nSwap:   {swapped} kB\n"
        "SwapPss:   0 kB\nLocked:   0 kB\nVmFlags: rd wr mr mw me\n"
        for first, inode, written, swapped in blocks
    )
    assert unwritten(smaps) == [
        Mapped(0x1000, 0x2000, "/one"),
        Mapped(0x5000, 0x6000, "/one"),
    ]
