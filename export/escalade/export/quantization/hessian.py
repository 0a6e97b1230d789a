"""Gathers what the linear layers of a model are fed, for GPTQ; knows no ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.checkpoint import GREEDY

#: The buffer of a linear layer that `gather_hessians` leaves on it.
HESSIAN = "input_hessian"


def gather_hessians(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Leave on each linear layer, as `input_hessian`, the sum of `x x^T` over its inputs.

    That is half of GPTQ's H, the second derivative of the squared error in the layer's products
    (arXiv 2210.17323, section 3); a factor changes nothing there.

    Inputs are those of the model reading each prompt and its own greedy answer.

    Args:
        model: a causal LM, or an encoder-decoder, in float32.
        prompts: token ids of each.
        max_new_tokens: longest answer.
        progress: called with (prompts done, prompts in all).
    """
    hooks = [
        module.register_forward_pre_hook(_add)
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D)
    ]
    try:
        with torch.inference_mode():
            for done, prompt in enumerate(prompts, start=1):
                ids = torch.tensor([prompt])
                answer: Callable[..., object] = model.generate  # type: ignore[assignment]
                answer(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=max_new_tokens,
                    **GREEDY,
                )
                progress(done, len(prompts))
    finally:
        for hook in hooks:
            hook.remove()


def has_hessians(model: PreTrainedModel) -> bool:
    """Whether `gather_hessians` has been here."""
    return any(hasattr(module, HESSIAN) for module in model.modules())


def _add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    flat = inputs[0].reshape(-1, inputs[0].shape[-1])
    hessian = flat.T @ flat
    found = getattr(module, HESSIAN, None)
    if isinstance(found, Tensor):
        found += hessian
    else:
        module.register_buffer(HESSIAN, hessian, persistent=False)
