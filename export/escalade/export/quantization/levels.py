"""Names few numbers that the scales of a matrix may be, a byte for each; knows no rounding.

What a scale is off is made up for by integers that are rounded after it, and by the best share of
a block's span being no sharper than this: steps of a few hundredths, as GPTQ's own search has. In
blocks of 32 a byte less for each scale is a quarter of a bit a weight, which as integers is worth
far more (llama.cpp's K-quants spend 6 bits on a scale).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

#: At most so many; a table of them costs so many bytes.
LEVELS = 255
TABLE_BYTES = 4 * LEVELS
# Of the largest: what is smaller is rounded on a scale that is too large. Those of SmolLM2's
# matrices reach down to a 94th.
_LEAST = 2.0**-8
# How far a scale is from the one that spans its block at most, but for few: shares of it are tried,
# and with a zero point in 4 bits a block spans 8 to 16 fifteenths of it.
_LEAST_OFF, _MOST_OFF = 0.5, 16 / 15


def levels_of(furthest: Tensor, *, signed: bool) -> Tensor:
    """Numbers as far apart, in the ratio, from the least that scales may be to the most.

    Args:
        furthest: of each block, the scale that its furthest weight asks for; not 0.
        signed: whether some scales are negative.

    Returns:
        `(L,)`, float32, at most `LEVELS`, rising, none 0.
    """
    spans = furthest.abs().double()
    most = spans.max() * _MOST_OFF
    least = torch.maximum(spans.min() * _LEAST_OFF, most * _LEAST)
    count = LEVELS // 2 if signed else LEVELS
    rising = torch.logspace(0, 1, count, base=float(most / least), dtype=torch.float64) * least
    levels = torch.cat([-rising.flip(0), rising]) if signed else rising
    return levels.float()


def nearest_level(scales: Tensor, levels: Tensor) -> Tensor:
    """The level next to each."""
    between = (levels[1:].double() + levels[:-1].double()) / 2  # exact, as in float32 it is not
    return levels[torch.bucketize(scales.double(), between)]


class Ladder(NamedTuple):
    """Levels as `levels_of` gives them, by what makes them: to come near one is then arithmetic.

    To look one up takes ten times as long, which is most of the time where many scales are tried.
    """

    #: Of the least above 0 and of the steps from each to the next, the logarithm to base 2.
    least: float
    step: float
    #: How many there are above 0.
    above: int

    @classmethod
    def of(cls, levels: Tensor) -> Ladder:
        """That of all there are, `(L,)`."""
        rising = levels[levels > 0].double().log2()
        count = len(rising)
        return cls(float(rising[0]), float(rising[-1] - rising[0]) / max(1, count - 1), count)

    def near(self, scales: Tensor) -> Tensor:
        """The level next to each scale, not 0, to 1 part in 10^5."""
        # Halfway between two levels is past the middle of their logarithms.
        past = math.log2((1 + 2**self.step) / 2)
        at = scales.abs().log2_().sub_(self.least + past).div_(self.step).ceil_()
        near = at.clamp_(0, self.above - 1).mul_(self.step).add_(self.least).exp2_()
        return near.copysign_(scales)
