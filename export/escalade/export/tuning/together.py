"""Tunes a decoder's rounded matrices, all together, by what it answers; knows no graph, no file.

Rounding matrix by matrix (GPTQ) never sees what all of it comes to. Here matrices, and the norms
between layers, go where the KL of the rounded decoder's next tokens to the exact one's falls, in
answers to prompts that it is like to be asked. Inputs are rounded as kernels round them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from escalade.export.blueprints import Decoder, Linear, Norm
from escalade.export.quantization import Answered, Choice, Rounded, tensors
from escalade.export.threads import threads_apart
from escalade.export.tuning.batches import Batch, batches_of
from escalade.export.tuning.descent import descend
from escalade.export.tuning.matrix import Tuned, rounded_inputs
from escalade.export.tuning.reading import Reader, Tables, norms_of

# More lower what is lost further, and take longer. So many times through few texts are enough: the
# rest is learned by heart.
_STEPS, _PASSES = 600, 10
# By validation queries of the bundled small model, in three draws of prompts (by hand): integers at
# 2e-2 lose more points and calls than at 1e-2 (0.21 for 0.11, 5.3 % for 3.6 %).
_SCALE_RATE, _INTEGER_RATE, _NORM_RATE = 1e-3, 1e-2, 1e-3
_HELD_OUT = 8  # of so many texts one is not tuned by
# Of a step, each with one thread, whose gradients are then added in their order: what comes out is
# the same for any number of threads.
_PARTS = 2
# Exact log-probabilities that are kept, in numbers; others are computed anew in each step.
_KEPT_NUMBERS = 1 << 24


class Matrix(NamedTuple):
    """One that a decoder's graph stores."""

    exact: Linear
    rounded: Rounded
    choice: Choice
    #: Whether its scales are of few numbers.
    few_scales: bool


class Tuning:
    """Of one decoder."""

    def __init__(
        self,
        model: Decoder,
        matrices: Mapping[str, Matrix],
        tables: Tables,
        texts: Sequence[Answered],
        *,
        rounds_inputs: bool,
        progress: Callable[[str], None],
    ) -> None:
        """Begin with its matrices as they are rounded.

        Args:
            model: what it is made of.
            matrices: by the names that a `Reader` asks for.
            tables: which of them are.
            texts: that end in answers, of which places count; every eighth is held out.
            rounds_inputs: whether what is multiplied is rounded to 8 bits.
            progress: called with a line now and then.
        """
        # What inference mode made autograd may not keep.
        self._model = dataclasses.replace(
            model, cosines=_copied(model.cosines), sines=_copied(model.sines)
        )
        self._matrices, self._tables = matrices, tables
        self._rounds_inputs, self._progress = rounds_inputs, progress
        self._norms = {name: _free(norm) for name, norm in norms_of(model).items()}
        self._tuned = {
            name: Tuned(one.rounded, *one.choice, few_scales=one.few_scales)
            for name, one in matrices.items()
        }
        held = [one for at, one in enumerate(texts) if at % _HELD_OUT == 0]
        read = [one for at, one in enumerate(texts) if at % _HELD_OUT]
        self._held = [one.parts(_PARTS) for one in batches_of(held)]
        self._read = [one.parts(_PARTS) for one in batches_of(read)]
        self._known: dict[int, Tensor] = {}

    def made(self) -> dict[str, Tensor]:
        """Integers, scales and norms by name; nothing where they are no better than before."""
        if not self._held or not self._read:
            return {}
        with threads_apart(_PARTS) as pool:
            before = self._lost(pool)
            descend(
                [
                    (_SCALE_RATE, [one.shares for one in self._tuned.values()]),
                    (_INTEGER_RATE, [one.places for one in self._tuned.values()]),
                    (_NORM_RATE, self._free_norms()),
                ],
                lambda at: self._leave_gradients(pool, self._read[at]),
                len(self._read),
                steps=min(_STEPS, _PASSES * len(self._read)),
                progress=self._progress,
            )
            if not self._lost(pool) < before:
                return {}
        made = {
            f"{name}/{kind}": tensor
            for name, one in self._tuned.items()
            for kind, tensor in tensors(one.rounded).items()
        }
        for name, norm in self._norms.items():
            made[f"{name}/weight"] = norm.weight.detach()
            if norm.bias is not None:
                made[f"{name}/bias"] = norm.bias.detach()
        return made

    def _free_norms(self) -> list[Tensor]:
        found = [(norm.weight, norm.bias) for norm in self._norms.values()]
        return [one for both in found for one in both if one is not None]

    def _lost(self, pool: ThreadPoolExecutor) -> float:
        weights = {name: one.weights().detach() for name, one in self._tuned.items()}

        def lost(part: Batch) -> float:
            with torch.no_grad():
                return float(self._divergence(part, weights))

        parts = [part for parts in self._held for part in parts]
        places = sum(int(part.counted.sum()) for part in parts)
        return sum(pool.map(lost, parts)) / places

    def _leave_gradients(self, pool: ThreadPoolExecutor, parts: Sequence[Batch]) -> None:
        """Of the mean KL of a batch, on what may move."""
        weights = {name: one.weights() for name, one in self._tuned.items()}
        leaves = {name: one.detach().requires_grad_(True) for name, one in weights.items()}
        norms = self._free_norms()
        places = sum(int(part.counted.sum()) for part in parts)

        def gradients(part: Batch) -> tuple[Tensor, ...]:
            lost = self._divergence(part, leaves) / places
            return torch.autograd.grad(lost, [*leaves.values(), *norms])

        found = [sum(rest, first) for first, *rest in zip(*pool.map(gradients, parts), strict=True)]
        torch.autograd.backward([*weights.values()], found[: len(weights)])
        for norm, gradient in zip(norms, found[len(weights) :], strict=True):
            norm.grad = gradient

    def _divergence(self, part: Batch, weights: Mapping[str, Tensor]) -> Tensor:
        """The KL of its places, in nats, summed."""
        exact = self._exact(part)
        matrices = {
            name: Linear(weight, self._matrices[name].exact.bias)
            for name, weight in weights.items()
        }
        reader = Reader(self._model, matrices, self._tables, self._norms, self._inputs)
        found = reader.logits(*part).log_softmax(-1)
        return functional.kl_div(found, exact, reduction="sum", log_target=True)

    def _exact(self, part: Batch) -> Tensor:
        key = id(part.ids)  # of parts that stay
        if key in self._known:
            return self._known[key]
        matrices = {name: one.exact for name, one in self._matrices.items()}
        reader = Reader(self._model, matrices, self._tables, norms_of(self._model))
        with torch.no_grad():
            exact = reader.logits(*part).log_softmax(-1)
        if exact.numel() * (len(self._known) + 1) <= _KEPT_NUMBERS:
            self._known[key] = exact
        return exact

    def _inputs(self, name: str, values: Tensor) -> Tensor:
        size = self._matrices[name].choice.block_size
        return rounded_inputs(values, size) if self._rounds_inputs else values


def _free(norm: Norm) -> Norm:
    """A copy that may move."""
    bias = None if norm.bias is None else norm.bias.detach().clone().requires_grad_(True)
    return dataclasses.replace(
        norm, weight=norm.weight.detach().clone().requires_grad_(True), bias=bias
    )


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
