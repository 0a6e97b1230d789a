"""Writes the seeded random model as a transformers folder; knows no peer, needs no torch.

Random weights serve for speed only: no figure of quality may come from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmarks.device import shape
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def write_model_folder(folder: Path) -> None:
    """Write config.json, model.safetensors (float32, 538 MB) and tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors()), folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": _END_TOKEN})
    )
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": shape.END_ID}))
    (folder / "config.json").write_text(json.dumps(_config(), indent=2) + "\n")


def tensors() -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and weights `(out, in)` in the order of the layers; the same for the same seed."""
    random = np.random.default_rng(shape.SEED)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        drawn = random.standard_normal((rows, columns), dtype=np.float32)
        return drawn * np.float32(shape.WEIGHT_STD)

    ones = np.ones(shape.HIDDEN, dtype=np.float32)
    query, kv = shape.HEADS * shape.HEAD_DIM, shape.KV_HEADS * shape.HEAD_DIM
    yield "model.embed_tokens.weight", matrix(shape.VOCABULARY, shape.HIDDEN)
    for index in range(shape.LAYERS):
        name = f"model.layers.{index}"
        yield f"{name}.input_layernorm.weight", ones
        yield f"{name}.self_attn.q_proj.weight", matrix(query, shape.HIDDEN)
        yield f"{name}.self_attn.k_proj.weight", matrix(kv, shape.HIDDEN)
        yield f"{name}.self_attn.v_proj.weight", matrix(kv, shape.HIDDEN)
        yield f"{name}.self_attn.o_proj.weight", matrix(shape.HIDDEN, query)
        yield f"{name}.post_attention_layernorm.weight", ones
        yield f"{name}.mlp.gate_proj.weight", matrix(shape.FEED_FORWARD, shape.HIDDEN)
        yield f"{name}.mlp.up_proj.weight", matrix(shape.FEED_FORWARD, shape.HIDDEN)
        yield f"{name}.mlp.down_proj.weight", matrix(shape.HIDDEN, shape.FEED_FORWARD)
    yield "model.norm.weight", ones


_END_TOKEN = "<end>"  # noqa: S105 - a token of text, no secret


def _tokenizer() -> Tokenizer:
    """Bytes, and tokens that no text gives, up to the vocabulary's size."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    filler = [f"<filler{index}>" for index in range(shape.VOCABULARY - len(symbols) - 1)]
    vocabulary = {token: index for index, token in enumerate([*symbols, *filler, _END_TOKEN])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": shape.HIDDEN,
        "intermediate_size": shape.FEED_FORWARD,
        "num_hidden_layers": shape.LAYERS,
        "num_attention_heads": shape.HEADS,
        "num_key_value_heads": shape.KV_HEADS,
        "head_dim": shape.HEAD_DIM,
        "max_position_embeddings": shape.WINDOW,
        "vocab_size": shape.VOCABULARY,
        "rms_norm_eps": shape.NORM_EPSILON,
        "rope_theta": shape.ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.ROPE_THETA},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": shape.END_ID,
        "pad_token_id": shape.END_ID,
    }
