"""Gathers how much a model's answers hang on what its layers write; knows no rounding, no graph.

Of a token that the model itself draws, the gradient of the log-probability squared is, in the
mean, the curvature of the KL divergence (the Fisher information); what the drawn token is depends
on the seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.export.quantization.hessian import HESSIAN

#: The buffer that `gather_curvatures` leaves on linear layers and on the input embedding.
CURVATURE = "output_curvature"


def gather_curvatures(model: PreTrainedModel, texts: Sequence[Sequence[int]], seed: int = 0) -> int:
    """Leave on each layer, as `output_curvature`, what an error of its outputs costs in KL.

    Of a linear layer that has a hessian it is `(N,)` such that `sum_i curvature_i * e_i H e_i^T` is
    the mean KL a token, to second order, that `e`, taken off its weight, costs. Of the input
    embedding it is `(H,)`, for each number that is taken off a row, squared.

    Args:
        model: a causal LM in float32, whose hessians are gathered.
        texts: token ids of each.
        seed: the same draws the same tokens.

    Returns:
        How many tokens were read.
    """
    draw = torch.Generator().manual_seed(seed)
    watch = _Watch()
    embedding = model.get_input_embeddings()
    hooks = [
        module.register_forward_hook(watch)
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D) or module is embedding
    ]
    needed = [one for one in model.parameters() if one.requires_grad]
    try:
        model.requires_grad_(False)
        for text in texts:
            with torch.enable_grad():
                logits = model(torch.tensor([list(text)]), use_cache=False).logits[0]
                logprobs = logits.log_softmax(-1)
                drawn = torch.multinomial(logprobs.detach().exp(), 1, generator=draw)
                (-logprobs.gather(-1, drawn).sum()).backward()
    finally:
        for hook in hooks:
            hook.remove()
        for one in needed:
            one.requires_grad_(True)
    tokens = sum(map(len, texts))
    for module, (inputs, squares) in watch.seen.items():
        curvature = squares / (2 * tokens)  # the KL is half of a quadratic form
        hessian = getattr(module, HESSIAN, None)
        if isinstance(hessian, Tensor):  # a sum over other tokens than these
            curvature = curvature * (inputs / tokens / hessian.diagonal().sum().clamp_min(1e-30))
        module.register_buffer(CURVATURE, curvature, persistent=False)
    return tokens


class _Watch:
    """Adds up, for each layer, its inputs squared and its outputs' gradients squared."""

    def __init__(self) -> None:
        self.seen: dict[nn.Module, tuple[float, Tensor]] = {}

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:  # the first of all
            output.requires_grad_(True)
        read = float(inputs[0].detach().double().square().sum())

        def add(gradient: Tensor) -> None:
            squares = gradient.reshape(-1, gradient.shape[-1]).square().sum(0)
            before = self.seen.get(module, (0.0, torch.zeros_like(squares)))
            self.seen[module] = (before[0] + read, before[1] + squares)

        output.register_hook(add)
