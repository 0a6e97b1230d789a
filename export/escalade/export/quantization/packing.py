"""Packs integers of few bits into the bytes that onnxruntime's kernels read; knows no rounding.

Kernels read integers of 2, 4 and 8 bits. Those of 3, 5 and 6 are stored as two planes, their upper
bits and what is below, each packed by itself; a table for each plane says what a byte of it stands
for in the next wider integers, whose lowest bits stay 0. What the integers stand for is the same on
a scale that is as much smaller.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from escalade.export.quantization.blocks import Rounded

_BYTE = 8
_PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2)}


def planes_of(bits: int) -> tuple[int, ...]:
    """The bits of each plane that integers are stored as, the upper ones first."""
    return _PLANES.get(bits, (bits,))


def kernel_bits(bits: int) -> int:
    """Of the integers that a kernel reads where so many are stored: 2, 4 or 8."""
    return next(wide for wide in (2, 4, 8) if wide >= bits)


def pack(rounded: Rounded, bits: int, block_size: int) -> list[NDArray[np.uint8]]:
    """Each plane's bytes, `(N, blocks, block_size * plane / 8)`, the lowest bits first.

    Of a single plane they are those of `MatMulNBits`. What fills the last block up stands for 0.
    """
    integers, grid = rounded
    filled = -integers.shape[1] % block_size
    ends = torch.zeros(len(integers), 1) if grid.zeros is None else grid.zeros[:, -1:]
    integers = torch.cat([integers, ends.to(torch.int8).expand(-1, filled)], dim=1)
    unsigned = _unsigned(integers, bits)
    return [
        _packed(unsigned >> np.uint8(below) & _lowest(plane), plane).reshape(
            len(integers), -1, block_size * plane // _BYTE
        )
        for plane, below in _places(bits)
    ]


def pack_zeros(zeros: Tensor, bits: int) -> NDArray[np.uint8]:
    """The zero points' bytes as kernels read them, `(N, ceil(blocks * kernel bits / 8))`."""
    wide = kernel_bits(bits)
    unsigned = _unsigned(pad(zeros, (0, -zeros.shape[1] % (_BYTE // wide))), bits)
    return _packed(unsigned << np.uint8(wide - bits), wide)


def plane_tables(bits: int) -> list[NDArray[np.uint8]]:
    """What a byte of each plane stands for in bytes that a kernel reads, `(256, B)`; or-ed."""
    wide = kernel_bits(bits)
    tables = []
    for plane, below in _places(bits):
        places = np.arange(0, _BYTE, plane, dtype=np.uint8)
        parts = np.arange(1 << _BYTE, dtype=np.uint8)[:, None] >> places & _lowest(plane)
        tables.append(_packed(parts << np.uint8(below + wide - bits), wide))
    return tables


def _places(bits: int) -> Iterator[tuple[int, int]]:
    """Of each plane its bits, and how many are below it."""
    below = bits
    for plane in planes_of(bits):
        below -= plane
        yield plane, below


def _lowest(bits: int) -> np.uint8:
    return np.uint8((1 << bits) - 1)


def _unsigned(integers: Tensor, bits: int) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = (
        (integers.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8).numpy()
    )
    return whole


def _packed(unsigned: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    packed: NDArray[np.uint8] = unsigned[:, :: _BYTE // bits].copy()
    for place in range(1, _BYTE // bits):
        packed |= unsigned[:, place :: _BYTE // bits] << (place * bits)
    return packed
