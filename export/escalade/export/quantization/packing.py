"""Packs integers of few bits into the bytes that onnxruntime's kernels read; knows no rounding."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from escalade.export.quantization.blocks import Rounded


def pack(rounded: Rounded, bits: int, block_size: int) -> NDArray[np.uint8]:
    """The bytes of `MatMulNBits`: `(N, blocks, block_size * bits / 8)`, the lowest bits first.

    What fills the last block up stands for 0.
    """
    integers, grid = rounded
    filled = -integers.shape[1] % block_size
    ends = torch.zeros(len(integers), 1) if grid.zeros is None else grid.zeros[:, -1:]
    integers = torch.cat([integers, ends.to(torch.int8).expand(-1, filled)], dim=1)
    return _packed(integers, bits).reshape(len(integers), -1, block_size * bits // 8)


def pack_zeros(zeros: Tensor, bits: int) -> NDArray[np.uint8]:
    """The zero points' bytes, `(N, ceil(blocks * bits / 8))`, the lowest bits first."""
    return _packed(pad(zeros, (0, -zeros.shape[1] % (8 // bits))), bits)


def _packed(integers: Tensor, bits: int) -> NDArray[np.uint8]:
    unsigned = (integers.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8).numpy()
    packed: NDArray[np.uint8] = unsigned[:, :: 8 // bits].copy()
    for place in range(1, 8 // bits):
        packed |= unsigned[:, place :: 8 // bits] << (place * bits)
    return packed
