"""Writes the folder of a Llama as a float32 GGUF file; knows no timing.

Usage: python -m benchmarks.device.gguf_model MODEL_FOLDER OUT.gguf [SPLIT], with gguf-py on the
path. With llama.cpp's name of the way in which its BPE splits text the tokenizer is written too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

# llama.cpp's names (gguf/constants.py, MODEL_ARCH.LLAMA) for those of transformers.
_OF_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHERS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def main() -> None:
    """Convert."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    config = json.loads((source / "config.json").read_text())
    if config["model_type"] != "llama" or not config["tie_word_embeddings"]:
        sys.exit(f"{source}: a Llama with tied embeddings is wanted, got {config['model_type']}")
    heads = {
        "self_attn.q_proj": config["num_attention_heads"],
        "self_attn.k_proj": config["num_key_value_heads"],
    }
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(source.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if sys.argv[3:]:
        _add_tokenizer(writer, json.loads((source / "tokenizer.json").read_text()), sys.argv[3])
    else:
        writer.add_tokenizer_model("none")  # ids in, ids out: no text is timed
    for name, values in load_file(source / "model.safetensors").items():
        writer.add_tensor(*_converted(name.removesuffix(".weight"), values, heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], split: str) -> None:
    special = {one["id"]: one["content"] for one in tokenizer["added_tokens"] if one["special"]}
    words = {index: word for word, index in tokenizer["model"]["vocab"].items()} | special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list([words[index] for index in sorted(words)])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if index in special else normal for index in sorted(words)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])


def _converted(
    name: str, values: NDArray[np.float32], heads: Mapping[str, int]
) -> tuple[str, NDArray[np.float32]]:
    values = values.astype(np.float32)
    if name in _OTHERS:
        return f"{_OTHERS[name]}.weight", values
    _, _, index, part = name.split(".", 3)
    if part in heads:
        values = _interleave_rotary(values, heads[part])
    return f"blk.{index}.{_OF_LAYER[part]}.weight", values


def _interleave_rotary(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of queries or keys as llama.cpp pairs them (conversion/llama.py, `permute`).

    transformers rotates row i with row i + head_dim / 2 of a head, llama.cpp neighbours.
    """
    halves = values.reshape(heads, 2, -1, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


if __name__ == "__main__":
    main()
