"""What export refuses by a model's settings alone, and training says before it begins."""

from __future__ import annotations

from typing import Any

import pytest
from checkpoint.conftest import BART, LLAMA
from transformers import AutoConfig, PreTrainedConfig

from escalade.checkpoint import CheckpointError, check_onnx, check_rotary, window_of
from escalade.checkpoint.exportable import ONNX_DECODERS, ONNX_ENCODER_DECODERS
from escalade.export.blueprints.encoder_decoder_families import ENCODER_DECODER_FAMILIES
from escalade.export.blueprints.families import FAMILIES

WIDE = {**LLAMA, "hidden_size": 64, "num_attention_heads": 4}
LONG = {"rope_type": "longrope", "long_factor": [2.0] * 8, "short_factor": [1.0] * 8}


def config_of(family: str, **settings: Any) -> PreTrainedConfig:
    config: PreTrainedConfig = AutoConfig.for_model(family, vocab_size=40, **settings)
    return config


def test_the_families_are_those_that_are_written() -> None:
    assert frozenset(FAMILIES) == ONNX_DECODERS
    assert frozenset(ENCODER_DECODER_FAMILIES) == ONNX_ENCODER_DECODERS


@pytest.mark.parametrize("family", sorted(ONNX_DECODERS | ONNX_ENCODER_DECODERS))
def test_a_family_is_taken_as_it_is_by_default(family: str) -> None:
    check_onnx(config_of(family), window=64)


@pytest.mark.parametrize(
    ("family", "settings", "says"),
    [
        ("llama", {"num_attention_heads": 8}, "must be a multiple of 16 .* got 8 of 8"),
        ("llama", {"head_dim": 24}, "got 24 of 24"),
        ("gpt_neox", {"hidden_size": 96, "rotary_pct": 1.0}, "got 24 of 24"),
        ("llama", {"hidden_act": "tanh"}, "activation must be one of silu.* got 'tanh'"),
        ("gpt2", {"activation_function": "quick_gelu"}, "got 'quick_gelu'"),
        ("t5", {"feed_forward_proj": "gated-tanh"}, "got 'tanh'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "layer_idx must be False"),
        ("gemma", {}, "got 'gemma'; --format executorch takes it"),
        ("mixtral", {}, "for --format onnx, got 'mixtral'$"),
        ("mamba", {}, "for --format onnx, got 'mamba'$"),
        ("pegasus", {}, "one of bart, mt5, t5 for an encoder-decoder, got 'pegasus'"),
    ],
)
def test_what_is_not_written_is_named(family: str, settings: dict[str, Any], says: str) -> None:
    shape = {} if family in {"gpt2", "t5", "pegasus", "mamba"} else WIDE
    with pytest.raises(CheckpointError, match=says):
        check_onnx(config_of(family, **{**shape, **settings}), window=64)


@pytest.mark.parametrize(
    ("rotary", "taken"),
    [
        ({"rope_type": "dynamic", "factor": 4.0}, True),
        ({**LONG, "original_max_position_embeddings": 64}, True),
        ({**LONG, "original_max_position_embeddings": 63}, False),
        (LONG, False),
        ({"rope_type": "of tomorrow"}, False),
    ],
)
def test_angles_may_not_change_with_the_length_of_a_text(
    rotary: dict[str, Any], taken: bool
) -> None:
    config = config_of("llama", **WIDE)
    config.rope_parameters = {"rope_theta": 10000.0, **rotary}
    if taken:
        check_rotary(config, window_of(config))
        return
    with pytest.raises(
        CheckpointError, match=f"at least the window, 64; got '{rotary['rope_type']}'"
    ):
        check_rotary(config, window_of(config))


def test_each_kind_of_layer_is_looked_at() -> None:
    config = config_of("gemma3_text", **WIDE)
    config.rope_parameters = {
        "full_attention": {**LONG, "rope_theta": 1e6, "original_max_position_embeddings": 9},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    with pytest.raises(CheckpointError, match="got 'longrope' with 9"):
        check_rotary(config, 64)


def test_windows() -> None:
    assert window_of(config_of("llama", **LLAMA)) == 64
    assert window_of(config_of("llama")) == window_of(config_of("t5")) == 2048
    assert window_of(config_of("bart", **BART)) == 64
