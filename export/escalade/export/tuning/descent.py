"""Moves numbers to where a loss is lower, step by step; knows nothing of what they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_BETAS = (0.9, 0.99)
_WARM_UP = 20  # steps
_LINES = 4  # of progress


def descend(
    moving: Sequence[tuple[float, Sequence[Tensor]]],
    leave_gradients: Callable[[int], None],
    batches: int,
    *,
    steps: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Move tensors to where a loss is lower (Adam, cosine rate).

    Args:
        moving: that require gradients, each some with the rate at which they move.
        leave_gradients: called with the number of a batch; leaves each tensor the gradient there.
        batches: how many there are.
        steps: a batch each.
        seed: the same takes batches in the same order.
        progress: called with a line now and then.
    """
    draw = torch.Generator().manual_seed(seed)
    groups = [{"params": list(some), "lr": rate} for rate, some in moving if some]
    adam = torch.optim.Adam(groups, betas=_BETAS, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, steps))
    order: list[int] = []
    for step in range(steps):
        if step * _LINES // steps != (step - 1) * _LINES // steps:
            progress(f"tuning, step {step + 1} of {steps}")
        order = order or torch.randperm(batches, generator=draw).tolist()
        adam.zero_grad()
        leave_gradients(order.pop())
        adam.step()
        rates.step()


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
