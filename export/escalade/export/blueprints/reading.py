"""Has a decoder read text in torch by weights that are given, so that these may be tuned; no ONNX.

The same mathematics as the graph's, matrix by matrix as the graph stores them, so that a weight's
gradient is that of what is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from escalade.checkpoint import Activation
from escalade.export.blueprints.blueprint import Attention, Block, Decoder, FeedForward, Norm

#: `y = x W^T + b` of the matrix called so.
Product = Callable[[str, Tensor], Tensor]


def logits_of(
    model: Decoder, ids: Tensor, table: Tensor, product: Product, norm: Callable[[str], Norm]
) -> Tensor:
    """What a decoder says comes next after each token.

    Args:
        model: what it is made of; its own matrices and norms are not read.
        ids: `(B, T)`.
        table: `(V, H)`, the embedding.
        product: of `layers.N.attention.qkv` (queries, keys and values side by side),
            `layers.N.attention.output`, `layers.N.gate_up` or `layers.N.up`, `layers.N.down`, and
            `head`.
        norm: `layers.N.attention_norm`, `layers.N.feed_forward_norm` or `final_norm`.

    Returns:
        `(B, T, V)`.
    """
    hidden = table[ids]
    if model.positions is not None:
        hidden = hidden + model.positions[: ids.shape[1]]
    for index, block in enumerate(model.blocks):
        hidden = _block(model, f"layers.{index}", block, hidden, product, norm)
    return product("head", _normed(norm("final_norm"), hidden))


def norms_of(model: Decoder) -> dict[str, Norm]:
    """All norms between layers, by the names that `logits_of` asks for."""
    found = {"final_norm": model.final_norm}
    for index, block in enumerate(model.blocks):
        found[f"layers.{index}.attention_norm"] = block.attention_norm
        found[f"layers.{index}.feed_forward_norm"] = block.feed_forward_norm
    return found


def _block(
    model: Decoder,
    name: str,
    block: Block,
    hidden: Tensor,
    product: Product,
    norm: Callable[[str], Norm],
) -> Tensor:
    normed = _normed(norm(f"{name}.attention_norm"), hidden)
    attended = hidden + _attended(model, f"{name}.attention", block.attention, normed, product)
    read = hidden if block.parallel else attended
    normed = _normed(norm(f"{name}.feed_forward_norm"), read)
    return attended + _fed(name, block.feed_forward, normed, product)


def _attended(
    model: Decoder, name: str, attention: Attention, normed: Tensor, product: Product
) -> Tensor:
    wide = model.head_dim
    counts = [model.heads * wide, model.kv_heads * wide, model.kv_heads * wide]
    queries, keys, values = (
        part.unflatten(-1, (-1, wide)) for part in product(f"{name}.qkv", normed).split(counts, -1)
    )
    if attention.query_norm is not None and attention.key_norm is not None:
        queries, keys = _normed(attention.query_norm, queries), _normed(attention.key_norm, keys)
    if attention.rotary and model.cosines is not None and model.sines is not None:
        angles = [one[: normed.shape[1], None] for one in (model.cosines, model.sines)]
        queries, keys = _rotated(queries, *angles), _rotated(keys, *angles)
    mixed = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=_seen(normed.shape[1], attention.sliding_window),
        scale=attention.scale,
        enable_gqa=model.heads != model.kv_heads,
    )
    return product(f"{name}.output", mixed.transpose(1, 2).flatten(-2))


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


def _fed(name: str, layer: FeedForward, normed: Tensor, product: Product) -> Tensor:
    if layer.gate is None:
        wide = _activated(layer.activation, product(f"{name}.up", normed))
    else:
        gate, up = product(f"{name}.gate_up", normed).chunk(2, -1)
        wide = _activated(layer.activation, gate) * up
    return product(f"{name}.down", wide)


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
