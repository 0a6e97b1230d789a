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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from escalade.export.memory import trim
from escalade.export.quantization.hessian import HESSIAN, Hessian, hessian_of
from escalade.export.quantization.own_text import draw_tokens

#: The buffer that `gather_curvatures` leaves on linear layers and on the input embedding.
CURVATURE = "output_curvature"
# Of a hessian, its share that counts tokens by their gradients; the rest counts all alike, and
# keeps what few tokens say from being all that there is.
_GUIDED = 0.5
_TINY = 1e-30
_ROWS = 16  # of the vocabulary's probabilities or gradients worked on at a time
# After so many blocks what they computed is given back: glibc puts none of what the next needs
# there, as it asks for aligned blocks, and 30 of SmolLM2's leave 190 MB of holes.
_BLOCKS = 3


def gather_curvatures(model: PreTrainedModel, texts: Sequence[Sequence[int]], seed: int = 0) -> int:
    """Leave on each layer, as `output_curvature`, what an error of its outputs costs in KL.

    Of a linear layer it is `(N,)` such that `sum_i curvature_i * e_i H e_i^T` is the mean KL a
    token, to second order, that `e`, taken off its weight, costs. Of the input embedding it is
    `(H,)`, for each number that is taken off a row, squared.

    H itself, `input_hessian`, then counts these texts' tokens by the squares of their gradients,
    beside what it was the sum of; it is the layer's own from then on. Where none was gathered it
    counts each of these texts' tokens alike beside.

    Args:
        model: a causal LM that computes in float32, but for its products (see `short_products`).
        texts: token ids of each; at least one.
        seed: the same draws the same tokens.

    Returns:
        How many tokens were read.
    """
    draw = torch.Generator().manual_seed(seed)
    tokens = sum(map(len, texts))
    watch = _Watch(tokens)
    embedding = model.get_input_embeddings()
    watched = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D) or module is embedding
    ]
    with _hooked(model, watched, watch) as cut, torch.enable_grad():
        for text in texts:
            logits = model(torch.tensor([list(text)]), use_cache=False).logits
            trim()  # what blocks computed lies in pieces
            gradient = logits.data[0]  # in their place: who wrote them needs them no more
            drawn = torch.empty(len(gradient), 1, dtype=torch.long)
            for rows, one in zip(gradient.split(_ROWS), drawn.split(_ROWS), strict=True):
                one.copy_(_to_likely(rows, draw))
            # Of the drawn tokens' NLL by the logits.
            gradient.scatter_add_(-1, drawn, torch.full(drawn.shape, -1.0))
            torch.autograd.backward(logits, gradient[None])
            del logits, gradient, rows  # before blocks compute again
            trim()
            cut.go_back()
            trim()
    for module, seen in watch.seen.items():
        curvature = seen.squares / (2 * tokens)  # the KL is half of a quadratic form
        if seen.hessian is not None:
            # By token, what an error meets there is as long as inputs are where gradients are.
            length = seen.guided / float(seen.squares.sum().clamp_min(_TINY))
            curvature = curvature * (length / max(seen.hessian.trace(), _TINY))
        module.register_buffer(CURVATURE, curvature, persistent=False)
    return tokens


def _to_likely(logits: Tensor, draw: torch.Generator) -> Tensor:
    """Turn logits, `(T, V)`, into probabilities, and draw a token of each row, `(T, 1)`."""
    logits.copy_(logits.softmax(-1))
    return draw_tokens(logits, draw)


@contextmanager
def _hooked(model: PreTrainedModel, watched: Sequence[nn.Module], watch: _Watch) -> Iterator[_Cut]:
    """What layers write is watched; weights get no gradients, and blocks keep what they read alone.

    What else is needed on the way back a block computes again then: of a small model's tokens the
    results between its layers are as large as its weights.

    Yields:
        Where the way back is cut, before the head.
    """
    cut = _Cut()
    hooks = [module.register_forward_hook(watch) for module in watched]
    hooks.append(model.get_output_embeddings().register_forward_pre_hook(cut))
    blocks = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    hooks += [block.register_forward_hook(_trimmed) for block in blocks[_BLOCKS - 1 :: _BLOCKS]]
    needed = [one for one in model.parameters() if one.requires_grad]
    try:
        model.requires_grad_(False)
        for block in blocks:
            again = partial(checkpoint, block.forward, use_reentrant=False)
            setattr(block, "forward", again)  # noqa: B010 - of this one alone
        yield cut
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
        for one in needed:
            one.requires_grad_(True)
        for hook in hooks:
            hook.remove()


def _trimmed(*_: object) -> None:
    trim()


class _Cut:
    """Parts the head from the blocks, so that its logits are free before these go their way back.

    Of a large vocabulary a text's are larger than all that its blocks keep.
    """

    def __init__(self) -> None:
        self._written: Tensor | None = None
        self._read: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the head reads, cut off from what wrote it."""
        self._written = inputs[0]
        self._read = inputs[0].detach().requires_grad_(True)
        return (self._read, *inputs[1:])

    def go_back(self) -> None:
        """From the gradient that the head's way back has left, through all before it."""
        assert self._written is not None  # noqa: S101 - the head has read
        assert self._read is not None  # noqa: S101
        written, gradient = self._written, self._read.grad
        self._written = self._read = None
        torch.autograd.backward(written, gradient)


@dataclass
class _Seen:
    """Of one layer."""

    #: Its own; None of the embedding.
    hessian: Hessian | None
    #: Of the hessian as it was found, its trace; None where none was.
    trace: float | None
    #: `(N,)`, the sum over tokens of gradients, squared.
    squares: Tensor
    #: The sum over tokens of |gradient|^2 |input|^2.
    guided: float = 0.0

    def add(self, read: Tensor, gradient: Tensor, tokens: int) -> None:
        """Add a text.

        Args:
            read: `(..., K)`, inputs.
            gradient: `(..., N)`, by outputs.
            tokens: in all texts.
        """
        lengths = []
        for rows in gradient.reshape(-1, gradient.shape[-1]).split(_ROWS):
            squares = rows.square()
            self.squares += squares.sum(0)
            lengths.append(squares.sum(1, keepdim=True))
        if self.hessian is None:
            return
        flat, weighing = read.reshape(-1, read.shape[-1]).float(), torch.cat(lengths)
        alike = flat.square().sum(1, keepdim=True)
        energy = float((alike.double() * weighing).sum())
        self.guided += energy
        # Each text by its length, whatever its gradients are beside another's.
        given = float(alike.sum()) if self.trace is None else len(flat) / tokens * self.trace
        # A model that is sure of its every token has no gradients, and all count alike.
        has_any = energy > _TINY * given
        weighing = weighing * (_GUIDED / (1 - _GUIDED) * given / energy if has_any else 0.0)
        if self.trace is None:
            weighing = 1 + weighing
        self.hessian.add(flat * weighing.sqrt())


@dataclass
class _Watch:
    """Adds up, for each layer, its outputs' gradients squared, and by them its inputs."""

    tokens: int
    seen: dict[nn.Module, _Seen] = field(default_factory=dict)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if module not in self.seen:
            self.seen[module] = _begun(module, inputs[0], output)
        if not output.requires_grad:  # the first of all
            output.requires_grad_(True)
        seen = self.seen[module]
        watched: Tensor = _Watched.apply(output, inputs[0].detach(), seen, self.tokens)
        return watched


class _Watched(torch.autograd.Function):
    """Gives a layer's output on, and adds its gradient, beside what was read, to what was seen.

    What was read lies where autograd keeps what it needs on the way back, and is computed again
    with the rest of a block.
    """

    @staticmethod
    def forward(ctx: _Context, output: Tensor, read: Tensor, seen: _Seen, tokens: int) -> Tensor:
        ctx.save_for_backward(read)
        ctx.seen, ctx.tokens = seen, tokens
        return output.view_as(output)

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (read,) = ctx.saved_tensors
        ctx.seen.add(read, gradient, ctx.tokens)
        return gradient, None, None, None


class _Context(FunctionCtx):
    seen: _Seen
    tokens: int
    saved_tensors: tuple[Tensor, ...]


def _begun(module: nn.Module, read: Tensor, output: Tensor) -> _Seen:
    squares = torch.zeros(output.shape[-1])
    if not read.is_floating_point():  # an embedding reads ids
        return _Seen(None, None, squares)
    found = hessian_of(module)
    hessian = Hessian(read.shape[-1]) if found is None else found.copy()
    # At once: what layers shared is free when the last has its own.
    setattr(module, HESSIAN, hessian)
    return _Seen(hessian, None if found is None else found.trace(), squares)
