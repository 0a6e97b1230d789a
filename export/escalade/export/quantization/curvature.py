"""Gathers how much a model's answers hang on what its layers write; knows no rounding, no graph.

Of a token that the model itself draws, the gradient of the log-probability squared is, in the
mean, the curvature of the KL divergence (the Fisher information); what the drawn token is depends
on the seed alone.

Answers hang on some tokens far more than on others: of SmolLM2's values nine tenths of all
gradients, squared, are at the first token of a text, which later ones attend to by default. So a
layer's hessian counts each token by them too (GuidedQuant, Kim et al., ICML 2025,
arXiv 2505.07004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.export.quantization.hessian import HESSIAN

#: The buffer that `gather_curvatures` leaves on linear layers and on the input embedding.
CURVATURE = "output_curvature"
# Of a hessian, its share that counts tokens by their gradients; the rest counts all alike, and
# keeps what few tokens say from being all that there is.
_GUIDED = 0.5


def gather_curvatures(model: PreTrainedModel, texts: Sequence[Sequence[int]], seed: int = 0) -> int:
    """Leave on each layer, as `output_curvature`, what an error of its outputs costs in KL.

    Of a linear layer that has a hessian it is `(N,)` such that `sum_i curvature_i * e_i H e_i^T` is
    the mean KL a token, to second order, that `e`, taken off its weight, costs. Of the input
    embedding it is `(H,)`, for each number that is taken off a row, squared.

    H itself then counts these texts' tokens by the squares of their gradients, beside what it was
    the sum of; it is the layer's own from then on.

    Args:
        model: a causal LM in float32, whose hessians are gathered.
        texts: token ids of each; at least one.
        seed: the same draws the same tokens.

    Returns:
        How many tokens were read.
    """
    draw = torch.Generator().manual_seed(seed)
    tokens = sum(map(len, texts))
    watch = _Watch(tokens)
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
    for module, seen in watch.seen.items():
        curvature = seen.squares / (2 * tokens)  # the KL is half of a quadratic form
        if seen.hessian is not None:
            # By token, what an error meets there is as long as inputs are where gradients are.
            length = seen.guided / float(seen.squares.sum().clamp_min(_TINY))
            curvature = curvature * (length / seen.hessian.diagonal().sum().clamp_min(_TINY))
        module.register_buffer(CURVATURE, curvature, persistent=False)
    return tokens


_TINY = 1e-30


@dataclass
class _Seen:
    """Of one layer."""

    #: `(K, K)`, its own; None of the embedding.
    hessian: Tensor | None
    #: Of the hessian as it was found: the sum of its diagonal.
    trace: float
    #: `(N,)`, the sum over tokens of gradients, squared.
    squares: Tensor
    #: The sum over tokens of |gradient|^2 |input|^2.
    guided: float = 0.0


@dataclass
class _Watch:
    """Adds up, for each layer, its outputs' gradients squared, and by them its inputs."""

    tokens: int
    seen: dict[nn.Module, _Seen] = field(default_factory=dict)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:  # the first of all
            output.requires_grad_(True)
        if module not in self.seen:
            self.seen[module] = _begun(module, output.shape[-1])
        seen, read = self.seen[module], inputs[0].detach()

        def add(gradient: Tensor) -> None:
            squares = gradient.reshape(-1, gradient.shape[-1]).square()
            seen.squares += squares.sum(0)
            if seen.hessian is None:
                return
            flat = read.reshape(-1, read.shape[-1])
            guiding = flat * squares.sum(1, keepdim=True).sqrt()
            energy = float(guiding.double().square().sum())
            seen.guided += energy
            # Each text by its length, whatever its gradients are beside another's.
            share = len(flat) / self.tokens * _GUIDED / (1 - _GUIDED) * seen.trace
            seen.hessian.addmm_(guiding.T, guiding, alpha=share / max(energy, _TINY))

        output.register_hook(add)


def _begun(module: nn.Module, width: int) -> _Seen:
    found = getattr(module, HESSIAN, None)
    hessian = found.clone() if isinstance(found, Tensor) else None
    if hessian is not None:  # at once: what layers shared is free when the last has its own
        module.register_buffer(HESSIAN, hessian, persistent=False)
    trace = 0.0 if hessian is None else float(hessian.diagonal().sum())
    return _Seen(hessian, trace, torch.zeros(width))
