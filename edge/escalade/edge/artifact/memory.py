"""How much memory an artifact will take, said before it is loaded; knows no runtime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    TOKENIZER_NAME,
    Manifest,
    Scheme,
    kernel_bits,
)
from escalade.edge.artifact.tokenizer_memory import tokenizer_memory, tokenizer_memory_at_least

# Bytes that a process holds for each byte of a program: onnxruntime lays weights out anew for
# its kernels while parts of the file stay mapped, and computes float16 ones in float32.
# Measured on a Llama of 135M parameters (1.2, 2.4, 1.4, 1.7, 1.5 for the first five,
# `python -m benchmarks.device` prints them) and rounded up.
_HELD_PER_BYTE: dict[Scheme, float] = {
    "none": 1.5,
    "float16": 2.75,
    "int8": 1.75,
    "int4": 2.0,
    "dynamic-int8": 1.75,
    "8da4w": 2.0,
}
# Where integers are joined first and there is no room on disk for them (`runtimes/onnx/mapped.py`),
# onnxruntime is given all weights in memory, and copies them before it lays them out: 2.6 measured
# at its highest, of 96 MB in 8 bits.
_HELD_PER_GIVEN_BYTE = 2.75
# Weights of 8 bits that are widened when a program is loaded, by nodes of the graph: while it is,
# all that these give is kept. 15.1 bytes for each of SmolLM2's measured.
_HELD_PER_WIDENED, _BYTE = 16, 8
# What `escalade export --activation-bits 32` says of it, and nothing else does.
_WIDENED_DETAIL = "32-bit activations"
# llama.cpp maps the file, and lays matrices of some types out anew for its kernels beside it, never
# those of floats.
_HELD_PER_GGUF_BYTE, _HELD_PER_FLOAT_GGUF_BYTE = 2.0, 1.1
# What it keeps of each word of the file's own tokenizer. Measured with the tokenizer that we keep
# too, on SmolLM2-135M in float32: 49 MB beside weights and cache, 1,000 a word.
_GGUF_BYTES_PER_WORD = 1024
# What the runtime allocates for itself, once in a process: 34 MB measured.
_WORKING_BYTES = 48 << 20
# Of model-signing and what it imports, once in a process: 39 MB measured.
_SIGNING_BYTES = 48 << 20
# Growth while each is read, for a byte of its file, by the worst found: of a manifest an unknown
# list of `{"":0},` (28.6), of a router weights of one byte (8.1), of a chat template, once it is
# compiled, additions (4,000).
_HELD_PER_MANIFEST_BYTE, _HELD_PER_ROUTER_BYTE, _HELD_PER_TEMPLATE_BYTE = 32, 10, 4096
# The widest results between layers that are alive together, in float32; the arena keeps room
# for the largest shapes it has seen.
_ALIVE = 6
_FLOAT_BYTES = 4
# T5's encoder adds a bias by relative position to each pair of tokens, for each head, and holds
# it twice while it attends.
_BYTES_PER_PAIR = 8
# Both runtimes read a prompt in pieces of 128 tokens; with the last of them go 8 of a draft.
_CHUNK_TOKENS = 128 + 8
# Rows of a linear model's file beside what is kept of them: 2.1 measured, of 262,144 rows of 7.
_HELD_PER_ROW_BYTE = 2.5
# For each n-gram that the longest text may have, its words, hash and place in lists: at most 67
# measured, of a text of different words of one character.
_BYTES_PER_NGRAM = 96
# Logits and shares of the whole vocabulary, twice each; and once for each of the 17 positions that
# a draft is read at in one piece.
_BYTES_PER_WORD = 16 + 17 * 8


class MemoryNeeded(NamedTuple):
    """What a process grows by, at most, when it opens an artifact and generates; in bytes."""

    #: For the program's weights, as the runtime keeps them.
    weights: int
    #: For the keys and values of a full window; allocated once.
    cache: int
    #: For everything else.
    working: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.working


def memory_needed(folder: Path, manifest: Manifest) -> MemoryNeeded:
    """Bound the memory of an artifact from its manifest and what stands in its tokenizer.

    Raises:
        ArtifactError: the tokenizer is missing, longer than the manifest says, or no JSON object.
    """
    if manifest.linear is not None:
        return _needed(folder, manifest, 0)
    size = manifest.files[TOKENIZER_NAME].bytes
    return _needed(folder, manifest, tokenizer_memory(folder / TOKENIZER_NAME, size))


def memory_at_least(folder: Path, manifest: Manifest) -> MemoryNeeded:
    """What an artifact takes whatever stands in its tokenizer: no file is read for this."""
    if manifest.linear is not None:
        return _needed(folder, manifest, 0)
    size = manifest.files[TOKENIZER_NAME].bytes
    return _needed(folder, manifest, tokenizer_memory_at_least(size))


def memory_to_begin(folder: Path, *, signed: bool) -> int:
    """What any artifact takes, known before its manifest is read.

    Args:
        folder: the artifact.
        signed: whether its signature is to be checked.
    """
    return _WORKING_BYTES + _manifest_bytes(folder) + (_SIGNING_BYTES if signed else 0)


def memory_of_all(totals: Iterable[int], *, signed: bool = False) -> int:
    """What several artifacts take in one process: the libraries are there once.

    Args:
        totals: what each takes alone.
        signed: whether signatures are checked.
    """
    own = [total - _WORKING_BYTES for total in totals]
    return sum(own) + (_WORKING_BYTES if own else 0) + (_SIGNING_BYTES if signed else 0)


def _manifest_bytes(folder: Path) -> int:
    try:
        return _HELD_PER_MANIFEST_BYTE * (folder / MANIFEST_NAME).lstat().st_size
    except OSError:  # whoever reads it says so
        return 0


def _needed(folder: Path, manifest: Manifest, tokenizer: int) -> MemoryNeeded:
    model, linear = manifest.model, manifest.linear
    own = {} if linear else {TOKENIZER_NAME: 0}
    if manifest.deferral.router is not None:
        own[manifest.deferral.router] = _HELD_PER_ROUTER_BYTE
    if model.chat is not None:
        own[model.chat.template] = _HELD_PER_TEMPLATE_BYTE
    files = sum(entry.bytes for name, entry in manifest.files.items() if name not in own)
    read = sum(held * manifest.files[name].bytes for name, held in own.items())
    working = _WORKING_BYTES + _manifest_bytes(folder) + tokenizer + read
    if linear is not None:
        return MemoryNeeded(
            weights=int(files * _HELD_PER_ROW_BYTE),
            cache=0,
            working=working + _BYTES_PER_NGRAM * linear.features.most_ngrams,
        )
    per_token = 2 * model.layers * model.kv_heads * model.head_dim * model.kv_bytes
    # An encoder-decoder keeps keys and values of the prompt too, of the last one until the
    # next has been read. An encoder reads all of a prompt at once, and alone it keeps nothing.
    two_sided, alone = manifest.encoder is not None, manifest.reads_once
    whole = two_sided or alone
    pairs = (model.kv_heads + 2) * model.window**2 if whole else 0
    at_once = model.window if whole else min(_CHUNK_TOKENS, model.window)
    copies = 0 if alone else 3 if two_sided else 1
    in_gguf = manifest.format == "gguf"
    scheme = manifest.quantization.scheme
    if not in_gguf:
        held = _HELD_PER_BYTE[scheme]
    elif scheme in {"none", "float16", "bf16"}:
        held = _HELD_PER_FLOAT_GGUF_BYTE
    else:
        held = _HELD_PER_GGUF_BYTE
    of_word = _BYTES_PER_WORD + (_GGUF_BYTES_PER_WORD if in_gguf else 0)
    if planes := manifest.quantization.planes:
        files += sum(one.joined_bytes - one.stored_bytes for one in planes)
        held = _HELD_PER_GIVEN_BYTE
    return MemoryNeeded(
        weights=int(files * held) + _HELD_PER_WIDENED * _widened(manifest),
        cache=copies * model.window * per_token,
        working=working
        + _ALIVE * _FLOAT_BYTES * at_once * model.widest
        + of_word * model.vocabulary_size
        + _BYTES_PER_PAIR * pairs,
    )


def _widened(manifest: Manifest) -> int:
    """How many weights are widened when the program is loaded."""
    quantization = manifest.quantization
    if manifest.format != "onnx" or _WIDENED_DETAIL not in quantization.detail:
        return 0
    if quantization.budget:
        choices = quantization.budget.choices
        return sum(one.weights for one in choices if kernel_bits(one.bits) >= _BYTE)
    return manifest.model.parameters  # at most: of `int4` it is the head's alone
