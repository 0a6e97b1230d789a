"""What a model's settings must be for an artifact to be made of it; knows no weights, no program.

Export goes by these rules, and training says before it begins where one does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from transformers import PreTrainedConfig

from escalade.checkpoint.errors import CheckpointError

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]

#: Of a config's names, those whose operator is written to ONNX.
ACTIVATIONS: Final[dict[str, Activation]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
#: Model types that are written to ONNX: decoders, and encoder-decoders.
ONNX_DECODERS: Final = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "smollm3", "gpt_neox", "gpt2"}
)
ONNX_ENCODER_DECODERS: Final = frozenset({"t5", "mt5", "bart"})
#: Of those that classify.
ONNX_CLASSIFIERS: Final = frozenset({"bert", "distilbert", "roberta"})
#: Longest prompt plus response that is written, unless the model's own is shorter; a device's
#: memory is not a server's, and the whole cache is allocated.
LONGEST_WINDOW = 2048

# Of other decoders, those whose attention ExecuTorch's operators were seen to compute, in a tiny
# random model of each. A setting may still be refused. No mixture of experts is among them:
# ExecuTorch 1.5 has no grouped products.
_EXECUTORCH_TOO = frozenset({
    "apertus", "arcee", "cohere", "ernie4_5", "exaone4", "gemma", "glm", "glm4", "gpt_bigcode",
    "granite", "helium", "hunyuan_v1_dense", "nemotron", "olmo", "olmo2", "opt", "phi", "phi3",
    "seed_oss", "stablelm", "starcoder2",
})  # fmt: skip
# Angles that depend on the position alone. Those of `dynamic` change from a length on that no
# window reaches: it is `max_position_embeddings`.
_FIXED_ROTARY = ("default", "dynamic", "linear", "llama3", "yarn")
# onnxruntime's GroupQueryAttention takes so many angles at a time.
_ANGLES = 8


def window_of(config: PreTrainedConfig) -> int:
    """Longest prompt plus response that an artifact of this model takes, in tokens."""
    # T5 has no last position, only the length it was trained on.
    trained = getattr(config, "max_position_embeddings", getattr(config, "n_positions", None))
    return min(trained or LONGEST_WINDOW, LONGEST_WINDOW)


def check_onnx(config: PreTrainedConfig, window: int) -> None:
    """Refuse a model that is not written to ONNX.

    Args:
        config: of a causal LM or an encoder-decoder.
        window: longest prompt plus response, in tokens.

    Raises:
        CheckpointError: its family, or a setting, is none that is written.
    """
    kind = str(config.model_type)
    if config.is_encoder_decoder:
        if kind not in ONNX_ENCODER_DECODERS:
            raise CheckpointError(
                f"model type must be one of {', '.join(sorted(ONNX_ENCODER_DECODERS))} for an"
                f" encoder-decoder, got {kind!r}"
            )
    elif kind not in ONNX_DECODERS:
        other = "; --format executorch takes it" if kind in _EXECUTORCH_TOO else ""
        raise CheckpointError(
            f"model type must be one of {', '.join(sorted(ONNX_DECODERS))} for --format onnx,"
            f" got {kind!r}{other}"
        )
    # T5's own name says gated or not, and what stands in `dense_act_fn`.
    for name in ("hidden_act", "activation_function", "dense_act_fn"):
        value = getattr(config, name, None)
        if value is not None and value not in ACTIVATIONS:
            raise CheckpointError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, got {value!r}"
            )
    if kind == "gpt2":
        for name in ("add_cross_attention", "scale_attn_by_inverse_layer_idx"):
            if getattr(config, name):
                raise CheckpointError(f"{name} must be False, got True")
    check_rotary(config, window)
    if rotary := next(_rotary_parameters(config), None):
        head_dim = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        aligned_angles(int(head_dim * rotary.get("partial_rotary_factor", 1.0)) // 2, head_dim)


def check_rotary(config: PreTrainedConfig, window: int) -> None:
    """Refuse angles that change with the length of the text: cached keys would keep the old ones.

    Args:
        config: of any model.
        window: longest prompt plus response, in tokens.

    Raises:
        CheckpointError: they change within the window.
    """
    for rotary in _rotary_parameters(config):
        kind = rotary.get("rope_type", "default")
        switch = rotary.get("original_max_position_embeddings")
        if kind in _FIXED_ROTARY or (kind == "longrope" and switch and window <= switch):
            continue
        raise CheckpointError(
            f"rope_type must be one of {', '.join(_FIXED_ROTARY)}, or longrope with"
            f" original_max_position_embeddings of at least the window, {window};"
            f" got {kind!r}" + (f" with {switch}" if kind == "longrope" else "")
        )


def aligned_angles(angles: int, head_dim: int) -> int:
    """How many angles a head is written with, zeros among them.

    Args:
        angles: half of the channels of a head that are rotated.
        head_dim: all of its channels.

    Raises:
        CheckpointError: heads are too narrow for it.
    """
    wide = -(-angles // _ANGLES) * _ANGLES
    if 2 * wide > head_dim:
        raise CheckpointError(
            f"rotary channels of a head must be a multiple of {2 * _ANGLES} for --format onnx, or"
            f" leave room to fill them up, got {2 * angles} of {head_dim}"
        )
    return wide


def _rotary_parameters(config: PreTrainedConfig) -> Iterator[dict[str, float]]:
    """Of the whole model, or of each kind of its layers."""
    found = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    if any(isinstance(value, dict) for value in found.values()):
        yield from (value for value in found.values() if isinstance(value, dict))
    elif found:
        yield found
