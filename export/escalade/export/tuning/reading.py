"""Has a decoder read text in torch by weights that are given, so that these may move; no rounding.

The same mathematics as the graph's, matrix by matrix as the graph stores them, so that a weight's
gradient is that of what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from escalade.checkpoint import Activation
from escalade.export.blueprints import Attention, Block, Decoder, FeedForward, Linear, Norm


class Tables(NamedTuple):
    """Names of the matrices that rows are looked up in, and of those that say the next token."""

    looked_up: Sequence[str]
    heads: Sequence[str]


@dataclass(frozen=True)
class Reader:
    """A decoder, and the numbers that it is to read by."""

    #: What it is made of; its own matrices and norms are not read.
    model: Decoder
    #: `layers.N.attention.qkv` (queries, keys and values side by side),
    #: `layers.N.attention.output`, `layers.N.gate_up` or `layers.N.up`, `layers.N.down`; tables.
    matrices: Mapping[str, Linear]
    tables: Tables
    #: By the names of `norms_of`.
    norms: Mapping[str, Norm]
    #: What a matrix called so is multiplied with.
    inputs: Callable[[str, Tensor], Tensor] = lambda name, values: values

    def logits(self, ids: Tensor, counted: Tensor) -> Tensor:
        """What comes next after tokens that count.

        Args:
            ids: `(B, T)`.
            counted: `(B, T)`, whether a token counts, as P of them do; of others no more is
                computed than these read.

        Returns:
            `(P, V)`.
        """
        model = self.model
        table = torch.cat([self.matrices[name].weight for name in self.tables.looked_up])
        hidden = functional.embedding(ids, table)
        if model.positions is not None:
            hidden = hidden + model.positions[: ids.shape[1]]
        last = len(model.blocks) - 1
        for index, block in enumerate(model.blocks):
            kept = counted if index == last else None
            hidden = self._block(f"layers.{index}", block, hidden, kept)
        normed = _normed(self.norms["final_norm"], hidden)
        return torch.cat([self._product(name, normed) for name in self.tables.heads], -1)

    def _block(self, name: str, block: Block, hidden: Tensor, kept: Tensor | None) -> Tensor:
        """`(B, T, H)`, or of the places to keep `(P, H)`."""
        normed = _normed(self.norms[f"{name}.attention_norm"], hidden)
        found = self._product(f"{name}.attention.qkv", normed)
        mixed = _mixed(self.model, block.attention, found)
        if kept is not None:
            mixed, hidden = mixed[kept], hidden[kept]
        attended = hidden + self._product(f"{name}.attention.output", mixed)
        read = hidden if block.parallel else attended
        normed = _normed(self.norms[f"{name}.feed_forward_norm"], read)
        return attended + self._fed(name, block.feed_forward, normed)

    def _fed(self, name: str, layer: FeedForward, normed: Tensor) -> Tensor:
        if layer.gate is None:
            wide = _activated(layer.activation, self._product(f"{name}.up", normed))
        else:
            gate, up = self._product(f"{name}.gate_up", normed).chunk(2, -1)
            wide = _activated(layer.activation, gate) * up
        return self._product(f"{name}.down", wide)

    def _product(self, name: str, values: Tensor) -> Tensor:
        one = self.matrices[name]
        return functional.linear(self.inputs(name, values), one.weight, one.bias)


def norms_of(model: Decoder) -> dict[str, Norm]:
    """All norms between layers, by the names that a `Reader` asks for."""
    found = {"final_norm": model.final_norm}
    for index, block in enumerate(model.blocks):
        found[f"layers.{index}.attention_norm"] = block.attention_norm
        found[f"layers.{index}.feed_forward_norm"] = block.feed_forward_norm
    return found


def _mixed(model: Decoder, attention: Attention, found: Tensor) -> Tensor:
    """Values as each token attends to them, of queries, keys and values side by side."""
    wide = model.head_dim
    counts = [model.heads * wide, model.kv_heads * wide, model.kv_heads * wide]
    queries, keys, values = (part.unflatten(-1, (-1, wide)) for part in found.split(counts, -1))
    if attention.query_norm is not None and attention.key_norm is not None:
        queries, keys = _normed(attention.query_norm, queries), _normed(attention.key_norm, keys)
    if attention.rotary and model.cosines is not None and model.sines is not None:
        angles = [one[: found.shape[1], None] for one in (model.cosines, model.sines)]
        queries, keys = _rotated(queries, *angles), _rotated(keys, *angles)
    mixed = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=_seen(found.shape[1], attention.sliding_window),
        scale=attention.scale,
        enable_gqa=model.heads != model.kv_heads,
    )
    return mixed.transpose(1, 2).flatten(-2)


def _seen(tokens: int, window: int | None) -> Tensor:
    """`(T, T)`, whether a token sees another."""
    places = torch.arange(tokens)
    back = places[:, None] - places
    return (back >= 0) if window is None else (back >= 0) & (back < window)


def _rotated(values: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    half = cosines.shape[-1]
    one, other, still = values.tensor_split([half, 2 * half], -1)
    turned = [one * cosines - other * sines, other * cosines + one * sines]
    return torch.cat([*turned, still], -1)


def _activated(kind: Activation, values: Tensor) -> Tensor:
    if kind == "silu":
        return functional.silu(values)
    if kind == "relu":
        return functional.relu(values)
    return functional.gelu(values, approximate="tanh" if kind == "gelu_tanh" else "none")


def _normed(norm: Norm, values: Tensor) -> Tensor:
    shape = [values.shape[-1]]
    if norm.centred:
        return functional.layer_norm(values, shape, norm.weight, norm.bias, norm.epsilon)
    return functional.rms_norm(values, shape, norm.weight, norm.epsilon)
