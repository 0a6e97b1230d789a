"""Packs integers of few bits into bytes, as kernels read them or in planes; knows no rounding."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from escalade.edge.artifact import kernel_bits, pack_integers, places_of
from escalade.export.quantization.blocks import Rounded

_BYTE = 8


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
        pack_integers(unsigned >> np.uint8(below) & np.uint8((1 << plane) - 1), plane).reshape(
            len(integers), -1, block_size * plane // _BYTE
        )
        for plane, below in places_of(bits)
    ]


def pack_zeros(zeros: Tensor, bits: int) -> NDArray[np.uint8]:
    """The zero points' bytes as kernels read them, `(N, ceil(blocks * kernel bits / 8))`."""
    wide = kernel_bits(bits)
    unsigned = _unsigned(pad(zeros, (0, -zeros.shape[1] % (_BYTE // wide))), bits)
    return pack_integers(unsigned << np.uint8(wide - bits), wide)


def _unsigned(integers: Tensor, bits: int) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = (
        (integers.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8).numpy()
    )
    return whole
