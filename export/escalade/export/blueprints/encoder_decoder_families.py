"""Reads transformers' encoder-decoders into blueprints, family by family; knows no ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from escalade.export.blueprints.blueprint import Attention, FeedForward
from escalade.export.blueprints.encoder_decoder_blueprint import (
    EncoderDecoder,
    Layer,
    NormedAttention,
    RelativeBias,
    Stack,
)
from escalade.export.blueprints.modules import (
    activation_of,
    check_written,
    layer_norm,
    linear,
    rms_norm,
)
from escalade.export.errors import ModelError


def encoder_decoder_of(model: PreTrainedModel, window: int) -> EncoderDecoder:
    """What an encoder-decoder is made of.

    Args:
        model: in float32, on the CPU. Its tensors are referred to, not copied.
        window: learned positions to keep.

    Raises:
        ModelError: the family, or a setting of it, is none that can be written.
    """
    check_written(model.config, window)
    return ENCODER_DECODER_FAMILIES[str(model.config.model_type)](model, window)


def _t5(model: PreTrainedModel, window: int) -> EncoderDecoder:
    config = model.config
    decoder = _t5_stack(model, "decoder")
    if getattr(config, "scale_decoder_outputs", False):
        # What the model does to the final norm's output can be done to its weight.
        assert decoder.final_norm is not None  # noqa: S101 - T5 always has one
        norm = dataclasses.replace(
            decoder.final_norm, weight=decoder.final_norm.weight * config.d_model**-0.5
        )
        decoder = dataclasses.replace(decoder, final_norm=norm)
    return EncoderDecoder(
        embedding=_shared(model, ""),
        embedding_scale=1.0,
        encoder=_t5_stack(model, "encoder"),
        decoder=decoder,
        head=linear(model, "lm_head"),
    )


def _shared(model: PreTrainedModel, prefix: str) -> Tensor:
    """The table that encoder and decoder look up in."""
    table = linear(model, f"{prefix}shared").weight
    for side in ("encoder", "decoder"):
        if not torch.equal(linear(model, f"{prefix}{side}.embed_tokens").weight, table):
            raise ModelError(f"{prefix}{side}.embed_tokens must be {prefix}shared, is another")
    return table


def _t5_stack(model: PreTrainedModel, side: str) -> Stack:
    config = model.config
    gated = bool(config.is_gated_act)
    layers = []
    for block in model.get_submodule(f"{side}.block").children():
        own, *cross, fed = block.get_submodule("layer").children()
        dense = fed.get_submodule("DenseReluDense")
        layers.append(
            Layer(
                own=_t5_attention(own, "SelfAttention"),
                cross=_t5_attention(cross[0], "EncDecAttention") if cross else None,
                feed_forward_norm=rms_norm(fed, "layer_norm"),
                feed_forward=FeedForward(
                    activation=activation_of(config.dense_act_fn),
                    gate=linear(dense, "wi_0") if gated else None,
                    up=linear(dense, "wi_1" if gated else "wi"),
                    down=linear(dense, "wo"),
                ),
            )
        )
    return Stack(
        layers=layers,
        heads=config.num_heads,
        head_dim=config.d_kv,
        bias=_t5_bias(model, side),
        final_norm=rms_norm(model, f"{side}.final_layer_norm"),
    )


def _t5_attention(parent: nn.Module, path: str) -> NormedAttention:
    query, key, value, output = (linear(parent, f"{path}.{name}") for name in "qkvo")
    # T5's initialization makes up for products that are not scaled.
    attention = Attention(query, key, value, output, rotary=False, scale=1.0)
    return NormedAttention(rms_norm(parent, "layer_norm"), attention)


def _t5_bias(model: PreTrainedModel, side: str) -> RelativeBias:
    """As the model computes it; all distances from `furthest` on are in one bucket."""
    furthest = int(model.config.relative_attention_max_distance)
    attention = model.get_submodule(f"{side}.block.0.layer.0.SelfAttention")
    compute = cast("Callable[[int, int], Tensor]", attention.compute_bias)
    with torch.inference_mode():
        table = compute(furthest + 1, furthest + 1)[0]  # (heads, queries, keys)
    past, future = table[:, -1], table[:, 0, 1:]
    return RelativeBias(past if side == "decoder" else torch.cat([past, future], 1), furthest)


def _bart(model: PreTrainedModel, window: int) -> EncoderDecoder:
    config = model.config
    bias = model.get_buffer("final_logits_bias")[0]
    return EncoderDecoder(
        embedding=_shared(model, "model."),
        embedding_scale=float(config.d_model**0.5) if config.scale_embedding else 1.0,
        encoder=_bart_stack(model, "encoder", config.encoder_attention_heads, window),
        decoder=_bart_stack(model, "decoder", config.decoder_attention_heads, window),
        head=dataclasses.replace(linear(model, "lm_head"), bias=bias if bias.any() else None),
    )


def _bart_stack(model: PreTrainedModel, side: str, heads: int, window: int) -> Stack:
    config = model.config
    layers = [
        Layer(
            own=_bart_attention(layer, "self_attn"),
            cross=_bart_attention(layer, "encoder_attn") if side == "decoder" else None,
            feed_forward_norm=layer_norm(layer, "final_layer_norm"),
            feed_forward=FeedForward(
                activation=activation_of(config.activation_function),
                up=linear(layer, "fc1"),
                down=linear(layer, "fc2"),
            ),
        )
        for layer in model.get_submodule(f"model.{side}.layers").children()
    ]
    table = model.get_submodule(f"model.{side}.embed_positions")
    first = int(cast("int", table.offset))  # rows before it are of no position
    return Stack(
        layers=layers,
        heads=heads,
        head_dim=config.d_model // heads,
        positions=linear(table, "").weight[first : first + window],
        embedding_norm=layer_norm(model, f"model.{side}.layernorm_embedding"),
    )


def _bart_attention(parent: nn.Module, path: str) -> NormedAttention:
    query, key, value, output = (
        linear(parent, f"{path}.{name}") for name in ("q_proj", "k_proj", "v_proj", "out_proj")
    )
    attention = Attention(query, key, value, output, rotary=False)
    return NormedAttention(layer_norm(parent, f"{path}_layer_norm"), attention)


#: By `model_type`.
ENCODER_DECODER_FAMILIES: dict[str, Callable[[PreTrainedModel, int], EncoderDecoder]] = {
    "t5": _t5,
    "mt5": _t5,
    "bart": _bart,
}
