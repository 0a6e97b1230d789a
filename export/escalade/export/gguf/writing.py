"""Writes a Llama as a GGUF file, rounded by llama.cpp itself; knows no artifact.

Keys and names are those of llama.cpp's own converter (convert_hf_to_gguf.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import Generation
from escalade.edge.artifact import Scheme
from escalade.edge.runtimes import open_llamacpp
from escalade.export.errors import ModelError
from escalade.export.gguf.reading import in_words, kinds_of
from escalade.export.gguf.words import Words, words_of

if TYPE_CHECKING:
    from gguf import GGUFWriter

# llama.cpp's names of what it rounds to (enum llama_ftype), by the scheme.
_FILE_TYPES: dict[Scheme, str] = {
    "none": "ALL_F32",
    "float16": "MOSTLY_F16",
    "int8": "MOSTLY_Q8_0",
    # In rows that do not divide by 256 it takes Q5_0 and Q8_0 in place of Q4_K and Q6_K.
    "int4": "MOSTLY_Q4_K_M",
}
_FLOAT_NAME = ".float32.gguf"
_ROTATED = ("q_proj", "k_proj")


def write_gguf(
    model: PreTrainedModel,
    generation: Generation,
    tokenizer: PreTrainedTokenizerFast,
    path: Path,
    *,
    window: int,
    scheme: Scheme,
) -> str:
    """Write a model, and its tokenizer where llama.cpp has one that reads as it does.

    Args:
        model: a Llama in float32, on the CPU.
        generation: how it answers.
        tokenizer: its own.
        path: of the file to write; another lies beside it meanwhile.
        window: longest prompt plus response, in tokens.
        scheme: `none`, `float16`, `int8` or `int4`.

    Returns:
        How it is stored, for people.

    Raises:
        ModelError: the model is of another family, or llama.cpp cannot round it.
        ArtifactError: llama.cpp is not installed.
    """
    _check_family(model.config)
    from gguf import GGUFReader

    words = words_of(tokenizer, generation, model.config.vocab_size, path.parent)
    floats = path if scheme == "none" else path.with_name(_FLOAT_NAME)
    try:
        _write_floats(model, floats, words, window)
        if floats != path:
            _round(floats, path, _FILE_TYPES[scheme])
    finally:
        if floats != path:
            floats.unlink(missing_ok=True)
    without = "" if words else "; without a tokenizer, for llama.cpp has none that reads as it does"
    kinds = in_words(kinds_of(GGUFReader(path)))
    return f"GGUF {_FILE_TYPES[scheme].rpartition('MOSTLY_')[2]}, {kinds}{without}"


def _check_family(config: PreTrainedConfig) -> None:
    kind = str(config.model_type)
    if kind != "llama":
        raise ModelError(f"--format gguf: model type must be llama, got {kind!r}")
    rotary = config.rope_parameters or {}
    wanted = {
        "attention_bias": (getattr(config, "attention_bias", False), False),
        "mlp_bias": (getattr(config, "mlp_bias", False), False),
        "hidden_act": (config.hidden_act, "silu"),
        "rope_parameters.rope_type": (rotary.get("rope_type", "default"), "default"),
    }
    for name, (found, only) in wanted.items():
        if found != only:
            raise ModelError(f"--format gguf: {name} must be {only!r}, got {found!r}")


def _write_floats(model: PreTrainedModel, path: Path, words: Words | None, window: int) -> None:
    from gguf import MODEL_ARCH, GGUFWriter, LlamaFileType, get_tensor_name_map

    config = model.config
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    rows = {"q_proj": heads, "k_proj": config.num_key_value_heads}
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_context_length(window)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    for add in (writer.add_rope_dimension_count, writer.add_key_length, writer.add_value_length):
        add(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if words is None:
        writer.add_tokenizer_model("none")
    else:
        words.add_to(writer)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, layers)
    for name, values in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        theirs = names.get_name(name, (".weight",))
        if theirs is None:
            raise ModelError(f"--format gguf: llama.cpp has no place for {name}")
        array: NDArray[np.float32] = values.numpy()
        kind = name.split(".")[-2]
        writer.add_tensor(theirs, _paired(array, rows[kind]) if kind in _ROTATED else array)
    _finish(writer)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    try:
        writer.write_tensors_to_file()
    except OSError as error:
        if error.errno is None:  # of numpy's `tofile`, which says how much it wrote of how much
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    writer.close()


def _paired(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of queries or keys as llama.cpp pairs them (conversion/llama.py, `permute`).

    transformers rotates row i with row i + head_dim / 2 of a head, llama.cpp neighbours.
    """
    halves = values.reshape(heads, 2, -1, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def _round(source: Path, target: Path, file_type: str) -> None:
    library = open_llamacpp()
    llama_cpp = library.llama_cpp
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{file_type}")
    library.forget_errors()
    status = llama_cpp.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(settings)
    )
    if status != 0:
        raise ModelError(f"--format gguf: llama.cpp cannot round it: {library.last_error()}")
