"""Writes the model folder as a float32 GGUF file; runs in the peers' environment, knows no timing.

Usage: python -m benchmarks.device.gguf_model MODEL_FOLDER OUT.gguf, with gguf-py on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
from benchmarks.device import shape
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
_HEADS_OF = {"self_attn.q_proj": shape.HEADS, "self_attn.k_proj": shape.KV_HEADS}


def main() -> None:
    """Convert."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("seeded random, 135M Llama shape")
    writer.add_context_length(shape.WINDOW)
    writer.add_embedding_length(shape.HIDDEN)
    writer.add_block_count(shape.LAYERS)
    writer.add_feed_forward_length(shape.FEED_FORWARD)
    writer.add_head_count(shape.HEADS)
    writer.add_head_count_kv(shape.KV_HEADS)
    writer.add_rope_dimension_count(shape.HEAD_DIM)
    writer.add_rope_freq_base(shape.ROPE_THETA)
    writer.add_layer_norm_rms_eps(shape.NORM_EPSILON)
    writer.add_vocab_size(shape.VOCABULARY)
    writer.add_tokenizer_model("none")  # ids in, ids out: no text is timed
    for name, values in load_file(source / "model.safetensors").items():
        writer.add_tensor(*_converted(name.removesuffix(".weight"), values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _converted(name: str, values: NDArray[np.float32]) -> tuple[str, NDArray[np.float32]]:
    if name in _OTHERS:
        return f"{_OTHERS[name]}.weight", values
    _, _, index, part = name.split(".", 3)
    if part in _HEADS_OF:
        values = _interleave_rotary(values, _HEADS_OF[part])
    return f"blk.{index}.{_OF_LAYER[part]}.weight", values


def _interleave_rotary(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of queries or keys as llama.cpp pairs them (conversion/llama.py, `permute`).

    transformers rotates row i with row i + head_dim / 2 of a head, llama.cpp neighbours.
    """
    halves = values.reshape(heads, 2, -1, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


if __name__ == "__main__":
    main()
