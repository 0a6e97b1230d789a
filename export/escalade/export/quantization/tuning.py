"""Tunes what rounded matrices are stored as by what a whole model says; knows no model, no graph.

Rounding matrix by matrix (GPTQ) never sees what all of it comes to. Here scales, and with them the
integers, go where a loss of the whole falls: scales by gradient with the integers as they are
(EfficientQAT's second phase, Chen et al., arXiv 2407.11062), integers through the step of rounding
as if it were none (LSQ, Esser et al., ICLR 2020, arXiv 1902.08153). What is stored stays of the
same kind: zero points stay, scales are ones that may be stored, at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from escalade.export.quantization.blocks import Grid, Rounded, near_halves, widen
from escalade.export.quantization.levels import nearest_level

# By validation queries of the bundled small model (by hand): integers that move faster lose more
# than they win until the last steps.
_SCALE_RATE, _INTEGER_RATE, _OTHER_RATE = 1e-3, 1e-2, 1e-3
_BETAS = (0.9, 0.99)
_WARM_UP = 20  # steps
_LINES = 4  # of progress


class Tuned:
    """A rounded matrix of which scales and integers may move."""

    def __init__(self, rounded: Rounded, bits: int, block_size: int, *, few_scales: bool) -> None:
        """Begin with it.

        Args:
            rounded: a matrix.
            bits: its integers'.
            block_size: neighbours that share a scale.
            few_scales: whether scales stay of the numbers that they are of now.
        """
        self.block_size = block_size
        self._lowest, self._most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self._begun = rounded
        scales = rounded.grid.scales
        self._levels = scales.unique() if few_scales else None
        self._halves = bool(torch.equal(scales, near_halves(scales)))
        _, zeros = widen(rounded.grid, block_size, rounded.integers.shape[1])
        self._zeros = zeros
        #: `(N, blocks)`, by which scales are larger than they were.
        self.shares = torch.ones_like(scales).requires_grad_(True)
        #: `(N, K)`, what integers are the nearest of.
        self.places = rounded.integers.float().requires_grad_(True)

    def weights(self) -> Tensor:
        """What it stands for, `(N, K)`, float32; gradients pass the steps of rounding."""
        exact = self._begun.grid.scales * self.shares
        scales = exact + (self._stored(exact.detach()) - exact.detach())
        inside = self.places.clamp(self._lowest, self._most)
        integers = inside + (inside.detach().round() - inside.detach())
        wide = scales.repeat_interleave(self.block_size, 1)[:, : integers.shape[1]]
        return (integers - self._zeros) * wide

    @property
    def rounded(self) -> Rounded:
        """Where it is."""
        with torch.no_grad():
            scales = self._stored(self._begun.grid.scales * self.shares)
            integers = self.places.clamp(self._lowest, self._most).round().to(torch.int8)
        return Rounded(integers, Grid(scales, self._begun.grid.zeros))

    def _stored(self, scales: Tensor) -> Tensor:
        if self._levels is not None:
            return nearest_level(scales, self._levels)
        return near_halves(scales) if self._halves else scales


def tune(
    matrices: Mapping[str, Tuned],
    others: Sequence[Tensor],
    loss: Callable[[int], Tensor],
    batches: int,
    *,
    steps: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Move matrices, and others beside them, to where a loss is lower (Adam, cosine rate).

    Args:
        matrices: whose scales and integers move.
        others: that require gradients, stored as they are.
        loss: of a batch, by its number, with all as they are now.
        batches: how many there are.
        steps: a batch each.
        seed: the same takes batches in the same order.
        progress: called with a line now and then.
    """
    draw = torch.Generator().manual_seed(seed)
    groups = [
        {"params": [one.shares for one in matrices.values()], "lr": _SCALE_RATE},
        {"params": [one.places for one in matrices.values()], "lr": _INTEGER_RATE},
        {"params": list(others), "lr": _OTHER_RATE},
    ]
    adam = torch.optim.Adam([group for group in groups if group["params"]], betas=_BETAS)
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, steps))
    order: list[int] = []
    for step in range(steps):
        if step * _LINES // steps != (step - 1) * _LINES // steps:
            progress(f"tuning, step {step + 1} of {steps}")
        order = order or torch.randperm(batches, generator=draw).tolist()
        adam.zero_grad()
        torch.autograd.backward(loss(order.pop()))
        adam.step()
        rates.step()


def divergence(exact: Tensor, found: Tensor, counted: Tensor) -> Tensor:
    """Mean KL of places, in nats.

    Args:
        exact: `(B, T, V)`, logits.
        found: the same of another.
        counted: `(B, T)`, 1 where a place counts, else 0; somewhere 1.
    """
    one, other = exact.log_softmax(-1), found.log_softmax(-1)
    return ((one.exp() * (one - other)).sum(-1) * counted).sum() / counted.sum()


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
