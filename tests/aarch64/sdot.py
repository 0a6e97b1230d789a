"""Runs inside the arm64 tree: one SDOT instruction, which a processor without it refuses."""

from __future__ import annotations

import ctypes
import mmap

# sdot v0.4s, v1.16b, v2.16b; ret (Arm Architecture Reference Manual for A-profile, C7.2).
_CODE = bytes.fromhex("2094824e c0035fd6")

with mmap.mmap(-1, len(_CODE), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
    page.write(_CODE)
    where = ctypes.c_char.from_buffer(page)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(where))()
    del where  # or the page cannot be closed
