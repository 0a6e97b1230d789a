"""Spends a budget of bits on matrices, each where it saves most; knows no model, no graph.

What a choice loses is a matter of its error and of how much the model's answers hang on it: the
mean KL that it costs, by its second-order approximation with Kronecker factors (Martens, Grosse,
K-FAC, arXiv 1503.05671; for choosing bits HAWQ-V2, arXiv 1911.03852):
`sum_i curvature_i * e_i H e_i^T` over rows, `e` what rounding takes off. Of that GPTQ makes up for
as much as the columns of H are alike: on SmolLM2 for 19 parts of 20 in one matrix and for a third
in another, so that choices by what is lost without it are other ones, and lose more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from escalade.edge.artifact import kernel_bits
from escalade.export.quantization.blocks import fit_grid, round_on
from escalade.export.quantization.levels import TABLE_BYTES

#: What there is to choose from for a matrix that is multiplied.
WIDTHS, BLOCKS = (2, 3, 4, 5, 6, 8), (16, 32, 64)
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
# Between which prices of a byte in memory, in KL, one is looked for (SmolLM2's is 1e-9), and how
# often what is left is halved, as its logarithm: then it is known to a part in 10^10.
_CHEAP, _DEAR, _HALVINGS = 1e-18, 1e18, 40


class Choice(NamedTuple):
    """How a matrix is stored."""

    bits: int
    block_size: int

    @property
    def zeros(self) -> bool:
        """Whether blocks may have zero points."""
        return self.bits <= _BITS_WITH_ZEROS

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


class Offer(NamedTuple):
    """A choice, and what it comes to."""

    choice: Choice
    #: Of the matrix on disk.
    bytes: int
    #: Mean KL that it is expected to cost, in nats; not negative.
    lost: float
    #: Of the matrix in memory.
    held: int = 0


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
    lost = []
    for choice in choices:
        bits, size = choice
        grid = fit_grid(some, importance, bits, size, zeros=choice.zeros)
        off = round_on(grid, some, bits, size).weights(size) - some
        lost.append(float((off.square() @ left).mean() * total[-1]))
        if rounded is not None:
            lost[-1] += float((some.square() @ _off_by(rounded, size)).mean() * total[-1])
    return lost


def _off_by(inputs: Tensor, block_size: int) -> Tensor:
    """`(K,)`, the mean square of what rounding each input to 8 bits takes off.

    A block has the step that its largest input asks for, which is larger the more there are.
    """
    filled = pad(inputs.float(), (0, -len(inputs) % block_size)).view(-1, block_size)
    largest = filled.amax(1, keepdim=True).clamp_min(_TINY)
    spread = (filled / largest).pow(_EIGHTH // 2).sum(1, keepdim=True).pow(2 / _EIGHTH) * largest
    steps = _LARGEST * spread / _INT8_MOST**2
    return (steps / _UNIFORM).expand(-1, block_size).flatten()[: len(inputs)]


class HeldError(ValueError):
    """No choice of so few bytes is held in so few.

    Attributes:
        least: bytes in memory of the choice that is held in fewest.
    """

    def __init__(self, least: int, most: int) -> None:
        """See the class; `most` bytes in memory were asked for."""
        super().__init__(f"the fewest bytes in memory are {least}, the budget {most}")
        self.least = least


def spend(
    offers: Mapping[str, Sequence[Offer]], most: int, most_held: int | None = None
) -> dict[str, Offer]:
    """Of each matrix the offer by which the sum of what is lost is least within a budget.

    Where that is held in more memory than it may be, a byte of memory has a price (a Lagrange
    multiplier): the least by which it is held in no more.

    Args:
        offers: of each matrix, by its name; at least one.
        most: bytes in all.
        most_held: bytes in memory in all; None where they do not matter.

    Raises:
        ValueError: the fewest bytes are more than that.
        HeldError: what is so small is not held in so few.
    """
    chosen = _spend(offers, most, 0.0)
    if most_held is None or _held(chosen) <= most_held:
        return chosen
    low, high = _CHEAP, _DEAR
    chosen = _spend(offers, most, high)
    if _held(chosen) > most_held:
        raise HeldError(_held(chosen), most_held)
    for _ in range(_HALVINGS):
        price = math.sqrt(low * high)
        found = _spend(offers, most, price)
        if _held(found) <= most_held:
            high, chosen = price, found
        else:
            low = price
    return chosen


def _held(chosen: Mapping[str, Offer]) -> int:
    return sum(offer.held for offer in chosen.values())


def _spend(offers: Mapping[str, Sequence[Offer]], most: int, price: float) -> dict[str, Offer]:
    """Greedy by marginal gain.

    Every matrix begins with its fewest bytes and goes up the convex hull of its offers, the step
    first that saves most a byte. The sum is the least that any choice of no more bytes could have,
    but where the last steps do not fit.

    Args:
        offers: see `spend`.
        most: see `spend`.
        price: of a byte in memory, as much as so much KL.
    """
    hulls = {name: _hull(some, price) for name, some in offers.items()}
    chosen = {name: hull[0] for name, hull in hulls.items()}
    left = most - sum(offer.bytes for offer in chosen.values())
    if left < 0:
        raise ValueError(f"the fewest bytes are {most - left}, the budget {most}")
    steps = sorted(
        (
            (-_gain(before, after, price), name, index)
            for name, hull in hulls.items()
            for index, (before, after) in enumerate(pairwise(hull), start=1)
        ),
    )
    stopped: set[str] = set()
    for _, name, index in steps:
        after = hulls[name][index]
        more = after.bytes - chosen[name].bytes
        if name in stopped or more > left:
            stopped.add(name)
            continue
        chosen[name] = after
        left -= more
    return chosen


def _cost(offer: Offer, price: float) -> float:
    return offer.lost + price * offer.held


def _gain(before: Offer, after: Offer, price: float) -> float:
    return (_cost(before, price) - _cost(after, price)) / (after.bytes - before.bytes)


def _hull(offers: Sequence[Offer], price: float) -> list[Offer]:
    """From the fewest bytes up those offers whose gain a byte falls from each to the next."""
    hull: list[Offer] = []
    for offer in sorted(offers, key=lambda one: (one.bytes, _cost(one, price))):
        if hull and _cost(offer, price) >= _cost(hull[-1], price):
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1], price) <= _gain(hull[-1], offer, price):
            hull.pop()
        hull.append(offer)
    return hull
