"""llama.cpp's own server as a process, and a model's folder as the file that it loads.

    python tests/llamacpp.py MODEL.gguf PORT

The package is a build of llama.cpp, its HTTP server with it.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import gguf
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import LlamaConfig, PreTrainedTokenizerFast

SEQUENCES = 4


def write_gguf(folder: Path, path: Path) -> None:
    """Write a Llama in float32 with a byte-level tokenizer.

    Args:
        folder: as transformers saves it.
        path: of the file to make.
    """
    config = LlamaConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    _add_tokenizer(writer, PreTrainedTokenizerFast.from_pretrained(folder))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in load_file(folder / "model.safetensors").items():
        ours = names.get_name(name, (".weight",))
        assert ours is not None, name
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        of = heads.get(name.split(".")[-2])
        writer.add_tensor(ours, weight if of is None else _in_pairs(weight, of))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([kinds[word in tokenizer.all_special_tokens] for word in words])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)


def _in_pairs(weight: NDArray, heads: int) -> NDArray:
    """Rotary halves beside each other, as llama.cpp has them; its own converter permutes so."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def main() -> None:
    """Serve until the process is ended."""
    import xllamacpp

    model, port = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = int(port)
    params.n_parallel = SEQUENCES
    params.cpuparams.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)  # it serves as long as it is held
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
