"""What a matrix may be stored in, what that takes and what it loses; knows no budget, no graph.

What a choice loses is a matter of its error and of how much the model's answers hang on it: the
mean KL that it costs, by its second-order approximation with Kronecker factors (Martens, Grosse,
K-FAC, arXiv 1503.05671; for choosing bits HAWQ-V2, arXiv 1911.03852):
`sum_i curvature_i * e_i H e_i^T` over rows, `e` what rounding takes off. Of that GPTQ makes up for
as much as the columns of H are alike: on SmolLM2 for 19 parts of 20 in one matrix and for a third
in another, so that choices by what is lost without it are other ones, and lose more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from escalade.edge.artifact import kernel_bits
from escalade.export.quantization.blocks import round_on
from escalade.export.quantization.fitting import fit_grid
from escalade.export.quantization.levels import TABLE_BYTES
from escalade.export.threads import threads_apart

#: What there is to choose from for a matrix that is multiplied.
WIDTHS, BLOCKS = (2, 3, 4, 5, 6, 8), (16, 32, 64)
# Of these onnxruntime 1.32 has no kernel: a product of one row takes 40 to 70 times as long as with
# 4 bits in blocks of 32 (`python -m benchmarks.device.products`).
_NO_KERNEL = (2, 16)
# Blocks of so few bits may have zero points: they cost an eighth of a bit in blocks of 32; in 8
# bits there is nothing to win.
_BITS_WITH_ZEROS = 4
_SCALE_BYTES = 2
# In memory, packed for a kernel: a block's scale in float32, and where inputs are rounded the sum
# of its integers times that, by which zero points are taken off (onnxruntime 1.32,
# `MlasQNBitGemmPackQuantBData`). Integers of 8 bits that inputs in float32 are multiplied with are
# widened.
_FLOAT_BYTES, _WIDENED_BITS = 4, 8
# Rows that an error is measured on: with 48 the order of choices was that with all.
_ROWS = 48
# The square of a block's largest input is about so many times the norm of all by the eighth power,
# squared: by what int8 lost of SmolLM2's KL in blocks of 16, 32 and 64 (0.0020, 0.0035, 0.0067), as
# a block twice as long loses nearly twice as much.
_LARGEST, _EIGHTH = 0.7, 8
_INT8_MOST = 127
_UNIFORM = 12  # a step's square, for the variance of what rounding takes off
_TINY = 1e-12


class Choice(NamedTuple):
    """How a matrix is stored."""

    bits: int
    block_size: int

    @property
    def zeros(self) -> bool:
        """Whether blocks may have zero points."""
        return self.bits <= _BITS_WITH_ZEROS

    @property
    def has_kernel(self) -> bool:
        """Whether products of it are about as fast as its bytes are few."""
        return self != _NO_KERNEL

    @property
    def whole(self) -> bool:
        """Whether a kernel reads its integers as they are stored, not joined of planes."""
        return kernel_bits(self.bits) == self.bits

    def few_scales(self, rows: int, columns: int) -> bool:
        """Whether the scales of a matrix `(rows, columns)` are levels, for a byte each.

        Those of a small one are not: the table of levels would take more than it spares.
        """
        return rows * -(-columns // self.block_size) * (_SCALE_BYTES - 1) > TABLE_BYTES

    def bytes_of(self, rows: int, columns: int) -> int:
        """Of a matrix `(rows, columns)`, its scales and zero points included."""
        blocks = -(-columns // self.block_size)
        zeros = -(-blocks * kernel_bits(self.bits) // 8) if self.zeros else 0
        few = self.few_scales(rows, columns)
        scale, table = (1, TABLE_BYTES) if few else (_SCALE_BYTES, 0)
        return rows * (blocks * (self.block_size * self.bits // 8 + scale) + zeros) + table

    def held_bytes_of(self, rows: int, columns: int, *, rounds_inputs: bool) -> int:
        """Of a matrix `(rows, columns)` in memory, as a kernel holds it.

        Args:
            rows: of the matrix.
            columns: of the matrix.
            rounds_inputs: whether what it is multiplied with is rounded to 8 bits.
        """
        bits = kernel_bits(self.bits)
        if bits >= _WIDENED_BITS and not rounds_inputs:
            return rows * columns * _FLOAT_BYTES
        block = self.block_size * bits // 8 + _FLOAT_BYTES * (1 + rounds_inputs)
        return rows * -(-columns // self.block_size) * block


def losses_of(
    weight: Tensor,
    importance: Tensor,
    left: Tensor,
    curvature: Tensor,
    choices: Sequence[Choice],
    *,
    rounded: Tensor | None = None,
) -> list[float]:
    """What each choice for a matrix costs.

    Args:
        weight: `(N, K)`.
        importance: `(K,)`, that grids are fitted by.
        left: `(K,)`, what an error of each column costs, squared (see `left_over`).
        curvature: `(N,)`, of the KL by each output; not negative.
        choices: to price.
        rounded: `(K,)`, mean squares of inputs, where these are rounded to 8 bits by blocks of the
            same size.
    """
    total = curvature.double().cumsum(0)
    if not float(total[-1]) > 0:
        return [0.0] * len(choices)
    # Rows as often as answers hang on them: in a head those of a few words are nearly all.
    at = (torch.arange(_ROWS) + 0.5) / _ROWS * total[-1]
    some = weight[torch.searchsorted(total, at).clamp_max(len(weight) - 1)].float()

    def lost(choice: Choice) -> float:
        bits, size = choice
        grid = fit_grid(some, importance, bits, size, zeros=choice.zeros)
        off = round_on(grid, some, bits, size).weights(size) - some
        found = float((off.square() @ left).mean() * total[-1])
        if rounded is not None:
            found += float((some.square() @ _off_by(rounded, size)).mean() * total[-1])
        return found

    with threads_apart() as pool:
        return list(pool.map(lost, choices))


def _off_by(inputs: Tensor, block_size: int) -> Tensor:
    """`(K,)`, the mean square of what rounding each input to 8 bits takes off.

    A block has the step that its largest input asks for, which is larger the more there are.
    """
    filled = pad(inputs.float(), (0, -len(inputs) % block_size)).view(-1, block_size)
    largest = filled.amax(1, keepdim=True).clamp_min(_TINY)
    spread = (filled / largest).pow(_EIGHTH // 2).sum(1, keepdim=True).pow(2 / _EIGHTH) * largest
    steps = _LARGEST * spread / _INT8_MOST**2
    return (steps / _UNIFORM).expand(-1, block_size).flatten()[: len(inputs)]
