"""Tunes a small decoder's rounded matrices, all together, before they are written; knows no graph.

What is lowered is the KL of the rounded decoder's next tokens to the exact one's, in answers to
prompts that it is like to be asked. Inputs are rounded as kernels round them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from escalade.export.blueprints import (
    Decoder,
    Linear,
    Norm,
    logits_of,
    norms_of,
)
from escalade.export.onnx.layers import stack
from escalade.export.onnx.slices import slices_of
from escalade.export.onnx.storage import EMBEDDING, HEAD, Storage
from escalade.export.quantization import (
    Answered,
    Rounded,
    Tuned,
    divergence,
    rounded_from,
    tensors,
    tune,
)

# More lower what is lost further, and take longer. So many times through few texts are enough: the
# rest is learned by heart.
_STEPS, _PASSES = 600, 10
# Exact logits that are kept, in numbers; others are computed anew in each step.
_KEPT_NUMBERS = 1 << 24
# Of a step, at most; what a step computes stays in memory until its way back.
_TEXTS, _TOKENS = 64, 2048
_HELD_OUT = 8  # of so many texts one is not tuned by
_INT8_MOST = 127
_TINY = 1e-12


def tune_rounded(
    model: Decoder,
    storage: Storage,
    texts: Sequence[Answered],
    graph: str,
    progress: Callable[[str], None],
) -> tuple[Decoder, Storage]:
    """Round all matrices, and tune them, and the norms between layers, by what they come to.

    Args:
        model: with hessians.
        storage: how its matrices are kept; its scheme has blocks.
        texts: that end in answers, of which places count; every eighth is held out.
        graph: that is written next: the first part of the names of steps that are kept.
        progress: called with a line now and then.

    Returns:
        The decoder, and a storage that has its matrices rounded: as they were, where the tuned
        lose more in the texts held out.
    """
    named = matrices_of(model, storage)
    rounded = {
        name: storage.rounded(graph, name, one, looked_up=name.startswith(EMBEDDING))
        for name, one in named.items()
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums hang on how many share them, and products here are small
    try:
        tuning = _Tuning(model, storage, named, rounded, texts, progress)
        made = storage.kept.once(f"{graph}.tuned", tuning.made)
    finally:
        torch.set_num_threads(threads)
    if not made:
        return model, dataclasses.replace(storage, known=rounded)
    found = {
        name: rounded_from({kind: made[f"{name}/{kind}"] for kind in tensors(one)})
        for name, one in rounded.items()
    }
    norms = {
        name: dataclasses.replace(
            norm, weight=made[f"{name}/weight"], bias=made.get(f"{name}/bias")
        )
        for name, norm in norms_of(model).items()
    }
    return _with_norms(model, norms), dataclasses.replace(storage, known=found, tuned=True)


class _Tuning:
    """Of one decoder."""

    def __init__(
        self,
        model: Decoder,
        storage: Storage,
        named: Mapping[str, Linear],
        rounded: Mapping[str, Rounded],
        texts: Sequence[Answered],
        progress: Callable[[str], None],
    ) -> None:
        self._named, self._storage, self._progress = named, storage, progress
        # Of a table in slices there are several.
        self._tables = [name for name in named if name.startswith(EMBEDDING)]
        self._heads = [name for name in named if name.startswith(HEAD)] or self._tables
        # What inference mode made autograd may not keep.
        self._model = dataclasses.replace(
            model, cosines=_copied(model.cosines), sines=_copied(model.sines)
        )
        self._held = _batches([one for at, one in enumerate(texts) if at % _HELD_OUT == 0])
        self._read = _batches([one for at, one in enumerate(texts) if at % _HELD_OUT])
        self._known: dict[int, Tensor] = {}
        self._left = _KEPT_NUMBERS
        self._norms = {name: _free(norm) for name, norm in norms_of(model).items()}
        self._matrices = {
            name: Tuned(
                rounded[name],
                *storage.choice_of(name),
                few_scales=storage.few_scales(name, one),
            )
            for name, one in named.items()
        }

    def made(self) -> dict[str, Tensor]:
        """Integers, scales and norms by name; nothing where they are no better than before."""
        if not self._held or not self._read:
            return {}
        before = self._lost()
        weights = [norm.weight for norm in self._norms.values()]
        biases = [norm.bias for norm in self._norms.values() if norm.bias is not None]
        tune(
            self._matrices,
            [*weights, *biases],
            lambda at: self._divergence(self._read[at]),
            len(self._read),
            steps=min(_STEPS, _PASSES * len(self._read)),
            progress=self._progress,
        )
        if not self._lost() < before:
            return {}
        made = {
            f"{name}/{kind}": tensor
            for name, one in self._matrices.items()
            for kind, tensor in tensors(one.rounded).items()
        }
        for name, norm in self._norms.items():
            made[f"{name}/weight"] = norm.weight.detach()
            if norm.bias is not None:
                made[f"{name}/bias"] = norm.bias.detach()
        return made

    def _lost(self) -> float:
        with torch.no_grad():
            lost = [float(self._divergence(one) * one.counted.sum()) for one in self._held]
        return sum(lost) / sum(float(one.counted.sum()) for one in self._held)

    def _divergence(self, batch: _Batch) -> Tensor:
        exact = self._exact(batch)
        weights = {name: one.weights() for name, one in self._matrices.items()}
        return divergence(exact, self._logits(batch.ids, weights, self._norms), batch.counted)

    def _exact(self, batch: _Batch) -> Tensor:
        key = id(batch.ids)  # of batches that stay
        if key in self._known:
            return self._known[key]
        with torch.no_grad():
            exact = self._logits(batch.ids, {}, norms_of(self._model))
        self._left -= exact.numel()
        if self._left >= 0:
            self._known[key] = exact
        return exact

    def _logits(
        self, ids: Tensor, weights: Mapping[str, Tensor], norms: Mapping[str, Norm]
    ) -> Tensor:
        """By weights that are given; exact ones where none are."""

        def one(name: str, values: Tensor) -> Tensor:
            matrix = self._named[name]
            if weights and self._storage.rounds_inputs:
                values = _rounded_inputs(values, self._storage.choice_of(name).block_size)
            return functional.linear(values, weights.get(name, matrix.weight), matrix.bias)

        def product(name: str, values: Tensor) -> Tensor:
            if name == HEAD:
                return torch.cat([one(part, values) for part in self._heads], -1)
            return one(name, values)

        table = torch.cat([weights.get(name, self._named[name].weight) for name in self._tables])
        return logits_of(self._model, ids, table, product, norms.__getitem__)


class _Batch(NamedTuple):
    """Texts, filled up with token 0 at their ends, which no place before sees."""

    #: `(B, T)`
    ids: Tensor
    #: `(B, T)`, 1 where the next token is one of an answer.
    counted: Tensor


def _batches(texts: Sequence[Answered]) -> list[_Batch]:
    """Of texts about as long as one another."""
    found: list[list[Answered]] = []
    for text in sorted(texts, key=lambda one: len(one.ids)):
        if found and len(found[-1]) < _TEXTS and (len(found[-1]) + 1) * len(text.ids) <= _TOKENS:
            found[-1].append(text)
        else:
            found.append([text])
    return [_batch(some) for some in found]


def _batch(texts: Sequence[Answered]) -> _Batch:
    ids = torch.zeros(len(texts), len(texts[-1].ids), dtype=torch.long)
    counted = torch.zeros(ids.shape)
    for row, (text, first) in enumerate(texts):
        ids[row, : len(text)] = text
        counted[row, first - 1 : len(text) - 1] = 1
    return _Batch(ids, counted)


def matrices_of(model: Decoder, storage: Storage) -> dict[str, Linear]:
    """Every matrix that the graph stores, by its name there."""
    found = _parts(storage, EMBEDDING, model.head if model.tied else Linear(model.embedding))
    for index, block in enumerate(model.blocks):
        name, attention, fed = f"layers.{index}", block.attention, block.feed_forward
        found[f"{name}.attention.qkv"] = stack(attention.query, attention.key, attention.value)
        found[f"{name}.attention.output"] = attention.output
        if fed.gate is None:
            found[f"{name}.up"] = fed.up
        else:
            found[f"{name}.gate_up"] = stack(fed.gate, fed.up)
        found[f"{name}.down"] = fed.down
    return found if model.tied else {**found, **_parts(storage, HEAD, model.head)}


def _parts(storage: Storage, name: str, table: Linear) -> dict[str, Linear]:
    firsts = storage.slices.get(name)
    if not firsts:
        return {name: table}
    return {own: table.rows(rows) for own, rows in slices_of(name, firsts, len(table.weight))}


def _rounded_inputs(values: Tensor, block_size: int) -> Tensor:
    """To 8 bits by blocks, as kernels do; gradients pass."""
    columns = values.shape[-1]
    blocks = functional.pad(values.detach(), (0, -columns % block_size))
    blocks = blocks.unflatten(-1, (-1, block_size))
    steps = blocks.abs().amax(-1, keepdim=True).clamp_min(_TINY) / _INT8_MOST
    near = ((blocks / steps).round() * steps).flatten(-2)[..., :columns]
    rounded: Tensor = values + (near - values.detach())
    return rounded


def _free(norm: Norm) -> Norm:
    """A copy that may move."""
    bias = None if norm.bias is None else norm.bias.detach().clone().requires_grad_(True)
    return dataclasses.replace(
        norm, weight=norm.weight.detach().clone().requires_grad_(True), bias=bias
    )


def _with_norms(model: Decoder, norms: Mapping[str, Norm]) -> Decoder:
    blocks = [
        dataclasses.replace(
            block,
            attention_norm=norms[f"layers.{index}.attention_norm"],
            feed_forward_norm=norms[f"layers.{index}.feed_forward_norm"],
        )
        for index, block in enumerate(model.blocks)
    ]
    return dataclasses.replace(model, blocks=blocks, final_norm=norms["final_norm"])


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
