"""Gathers what the linear layers of a model are fed, for GPTQ; knows no ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.checkpoint import GREEDY

#: The attribute of a linear layer that `gather_hessians` leaves on it.
HESSIAN = "input_hessian"
_ROWS = 4  # read at a time: logits of every token of a large vocabulary are large
_PANEL = 192  # columns: of SmolLM2's 576 and 1536 a multiple, and wide enough for fast products


class Hessian:
    """A sum of `x x^T` over inputs `x`, `(K, K)`: what lies on and over the diagonal, by panels.

    Little more than half of what a whole matrix takes, in memory and in time.
    """

    def __init__(self, columns: int) -> None:
        """Nothing, of inputs of so many numbers."""
        self.columns = columns
        ends = [min(first + _PANEL, columns) for first in range(0, columns, _PANEL)]
        #: Each from row 0 to its last column.
        self._panels = [
            torch.zeros(end, end - first)
            for first, end in zip(range(0, columns, _PANEL), ends, strict=True)
        ]

    def add(self, inputs: Tensor) -> None:
        """Add the sum over inputs, `(T, K)`."""
        for first, panel in self._placed():
            rows, columns = panel.shape
            left, right = inputs[:, :rows], inputs[:, first : first + columns]
            panel.addmm_(left.T, right)

    def copy(self) -> Hessian:
        """Another, of the same numbers."""
        made = Hessian(self.columns)
        for panel, (_, mine) in zip(made._panels, self._placed(), strict=True):
            panel.copy_(mine)
        return made

    def free(self) -> None:
        """Give all numbers up: who asks for them, or adds to them, gets a RuntimeError."""
        self._panels.clear()

    def trace(self) -> float:
        """The sum of its diagonal: of all inputs' squares."""
        return sum(float(panel[first:].trace()) for first, panel in self._placed())

    def whole(self) -> Tensor:
        """`(K, K)`, float32, symmetric to the last bit; made anew."""
        made = torch.empty(self.columns, self.columns)
        for first, panel in self._placed():
            rows, columns = panel.shape
            made[first : first + columns, :rows] = panel.T
            made[:rows, first : first + columns] = panel
        for first, panel in self._placed():
            block = panel[first:]
            made[first : first + len(block), first : first + len(block)] = (
                block.triu() + block.triu(1).T
            )
        return made

    def _placed(self) -> Iterator[tuple[int, Tensor]]:
        """Panels, each with its first column."""
        if not self._panels:
            raise RuntimeError(f"the Hessian of {self.columns} inputs was freed")
        return zip(range(0, self.columns, _PANEL), self._panels, strict=True)


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
    answer: Callable[..., Tensor] = model.generate  # type: ignore[assignment]
    whole = not model.config.is_encoder_decoder
    with torch.inference_mode():
        for done, prompt in enumerate(prompts, start=1):
            ids = torch.tensor([prompt])
            settings = {"attention_mask": torch.ones_like(ids), "max_new_tokens": max_new_tokens}
            if whole:  # a sum for each layer and text instead of one for each token
                gather_hessians_of_text(model, answer(ids, **settings, **GREEDY)[:, :-1])
            else:
                with _watched(model):
                    answer(ids, **settings, **GREEDY)
            progress(done, len(prompts))


def gather_hessians_of_text(model: PreTrainedModel, texts: Tensor) -> None:
    """Add to `input_hessian` of each linear layer what it is fed where the model reads texts.

    Args:
        model: a causal LM in float32.
        texts: `(N, T)`, token ids.
    """
    with _watched(model), torch.inference_mode():
        for some in texts.split(_ROWS):
            model(some, use_cache=False)


def has_hessians(model: PreTrainedModel) -> bool:
    """Whether hessians were gathered here."""
    return any(hasattr(module, HESSIAN) for module in model.modules())


def hessian_of(module: nn.Module) -> Hessian | None:
    """What was gathered of a layer."""
    found = getattr(module, HESSIAN, None)
    return found if isinstance(found, Hessian) else None


@contextmanager
def _watched(model: PreTrainedModel) -> Iterator[None]:
    watch = _Watch()
    hooks = [
        module.register_forward_pre_hook(watch)
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Watch:
    """Adds what layers read; those that read one tensor (queries, keys, values) share one sum."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Hessian] | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found = hessian_of(module)
        if self._last is not None and self._last[0] is inputs[0]:
            if found is None:
                setattr(module, HESSIAN, self._last[1])
                return
            if found is self._last[1]:
                return
        flat = inputs[0].reshape(-1, inputs[0].shape[-1])
        if found is None:
            found = Hessian(flat.shape[-1])
            setattr(module, HESSIAN, found)
        found.add(flat)
        self._last = (inputs[0], found)
