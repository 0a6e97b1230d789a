"""Reads transformers' causal LMs into blueprints, family by family; knows no ONNX.

A family is listed here when its every operation is one that `onnx/graphs` writes. Settings
that would change the mathematics and that are not known are refused, not ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from escalade.export.blueprints.blueprint import Attention, Block, Decoder, FeedForward
from escalade.export.blueprints.modules import (
    activation_of,
    check_written,
    conv1d,
    layer_norm,
    linear,
    rms_norm,
)
from escalade.export.quantization import CURVATURE


def decoder_of(model: PreTrainedModel, window: int) -> Decoder:
    """What a causal LM is made of.

    Args:
        model: in float32, on the CPU. Its tensors are referred to, not copied.
        window: positions to prepare rotary angles or learned positions for.

    Raises:
        ModelError: the family, or a setting of it, is none that can be written.
    """
    check_written(model.config, window)
    decoder = FAMILIES[str(model.config.model_type)](model, window)
    curvature = getattr(model.get_input_embeddings(), CURVATURE, None)
    return dataclasses.replace(
        decoder, embedding_curvature=curvature if isinstance(curvature, Tensor) else None
    )


def _llama_like(model: PreTrainedModel, window: int) -> Decoder:
    """Llama, Mistral, Qwen2, Qwen3, SmolLM3: one shape with small differences."""
    config = model.config
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    blocks = []
    for index, layer in enumerate(model.get_submodule("model.layers").children()):
        attention = layer.get_submodule("self_attn")
        normed_heads = hasattr(attention, "q_norm")
        blocks.append(
            Block(
                attention_norm=rms_norm(layer, "input_layernorm"),
                attention=Attention(
                    query=linear(attention, "q_proj"),
                    key=linear(attention, "k_proj"),
                    value=linear(attention, "v_proj"),
                    output=linear(attention, "o_proj"),
                    rotary=bool(getattr(attention, "use_rope", True)),
                    query_norm=rms_norm(attention, "q_norm") if normed_heads else None,
                    key_norm=rms_norm(attention, "k_norm") if normed_heads else None,
                    sliding_window=_sliding_window(config, index),
                ),
                feed_forward_norm=rms_norm(layer, "post_attention_layernorm"),
                feed_forward=FeedForward(
                    activation=activation_of(config.hidden_act),
                    gate=linear(layer, "mlp.gate_proj"),
                    up=linear(layer, "mlp.up_proj"),
                    down=linear(layer, "mlp.down_proj"),
                ),
            )
        )
    cosines, sines = _rotary(model, "model.rotary_emb", window)
    return Decoder(
        embedding=linear(model, "model.embed_tokens").weight,
        blocks=blocks,
        final_norm=rms_norm(model, "model.norm"),
        head=linear(model, "lm_head"),
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        cosines=cosines,
        sines=sines,
    )


def _gpt_neox(model: PreTrainedModel, window: int) -> Decoder:
    config = model.config
    heads = config.num_attention_heads
    head_dim = config.hidden_size // heads
    blocks = []
    for layer in model.get_submodule("gpt_neox.layers").children():
        # Rows are laid out head by head: query, key and value of head 0, then of head 1.
        packed = linear(layer, "attention.query_key_value")
        rows = torch.arange(len(packed.weight)).view(heads, 3, head_dim)
        query, key, value = (packed.rows(rows[:, which].reshape(-1)) for which in range(3))
        blocks.append(
            Block(
                attention_norm=layer_norm(layer, "input_layernorm"),
                attention=Attention(
                    query=query,
                    key=key,
                    value=value,
                    output=linear(layer, "attention.dense"),
                    rotary=True,
                ),
                feed_forward_norm=layer_norm(layer, "post_attention_layernorm"),
                feed_forward=FeedForward(
                    activation=activation_of(config.hidden_act),
                    up=linear(layer, "mlp.dense_h_to_4h"),
                    down=linear(layer, "mlp.dense_4h_to_h"),
                ),
                parallel=config.use_parallel_residual,
            )
        )
    cosines, sines = _rotary(model, "gpt_neox.rotary_emb", window)
    return Decoder(
        embedding=linear(model, "gpt_neox.embed_in").weight,
        blocks=blocks,
        final_norm=layer_norm(model, "gpt_neox.final_layer_norm"),
        head=linear(model, "lm_head"),
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        cosines=cosines,
        sines=sines,
    )


def _gpt2(model: PreTrainedModel, window: int) -> Decoder:
    config = model.config
    blocks = []
    for layer in model.get_submodule("transformer.h").children():
        packed = conv1d(layer, "attn.c_attn")
        rows = torch.arange(len(packed.weight))
        query, key, value = (packed.rows(part) for part in rows.chunk(3))
        blocks.append(
            Block(
                attention_norm=layer_norm(layer, "ln_1"),
                attention=Attention(
                    query=query,
                    key=key,
                    value=value,
                    output=conv1d(layer, "attn.c_proj"),
                    rotary=False,
                    scale=None if config.scale_attn_weights else 1.0,
                ),
                feed_forward_norm=layer_norm(layer, "ln_2"),
                feed_forward=FeedForward(
                    activation=activation_of(config.activation_function),
                    up=conv1d(layer, "mlp.c_fc"),
                    down=conv1d(layer, "mlp.c_proj"),
                ),
            )
        )
    return Decoder(
        embedding=linear(model, "transformer.wte").weight,
        blocks=blocks,
        final_norm=layer_norm(model, "transformer.ln_f"),
        head=linear(model, "lm_head"),
        heads=config.n_head,
        kv_heads=config.n_head,
        head_dim=config.n_embd // config.n_head,
        cosines=None,
        sines=None,
        positions=linear(model, "transformer.wpe").weight[:window],
    )


#: By `model_type`.
FAMILIES: dict[str, Callable[[PreTrainedModel, int], Decoder]] = {
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "qwen3": _llama_like,
    "smollm3": _llama_like,
    "gpt_neox": _gpt_neox,
    "gpt2": _gpt2,
}

# Families whose attention looks at the config's `sliding_window`; Llama's does not.
_SLIDING = {"mistral", "qwen2", "qwen3", "smollm3"}


def _sliding_window(config: PreTrainedConfig, index: int) -> int | None:
    if config.model_type not in _SLIDING:
        return None
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and kinds[index] != "sliding_attention":
        return None
    window = getattr(config, "sliding_window", None)
    return None if window is None else int(window)


def _rotary(model: PreTrainedModel, path: str, window: int) -> tuple[Tensor, Tensor]:
    """`(window, rotary_dim / 2)` cosines and sines, as the model itself computes them."""
    with torch.inference_mode():
        cosines, sines = model.get_submodule(path)(torch.zeros(1, 1, 1), torch.arange(window)[None])
    half = cosines.shape[-1] // 2
    return cosines[0, :, :half], sines[0, :, :half]
