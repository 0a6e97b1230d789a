"""How much memory an artifact will take, said before it is loaded; knows no runtime."""

from __future__ import annotations

from typing import NamedTuple

from escalade.edge.artifact.manifest import TOKENIZER_NAME, Manifest, Scheme

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
# What the runtime allocates for itself.
_WORKING_BYTES = 48 << 20
# A tokenizer in memory against its file: measured 12.6 on a byte-level one of 151,000 tokens.
_HELD_PER_TOKENIZER_BYTE = 16
# The widest results between layers that are alive together, in float32; the arena keeps room
# for the largest shapes it has seen.
_ALIVE = 6
_FLOAT_BYTES = 4
# T5's encoder adds a bias by relative position to each pair of tokens, for each head, and holds
# it twice while it attends.
_BYTES_PER_PAIR = 8
# Both runtimes read a prompt in pieces of this many tokens.
_CHUNK_TOKENS = 128
# Logits and shares of the whole vocabulary, twice each.
_BYTES_PER_WORD = 16


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


def memory_needed(manifest: Manifest) -> MemoryNeeded:
    """Bound the memory of an artifact from its manifest alone."""
    model = manifest.model
    files = sum(entry.bytes for name, entry in manifest.files.items() if name != TOKENIZER_NAME)
    per_token = 2 * model.layers * model.kv_heads * model.head_dim * model.kv_bytes
    # An encoder-decoder keeps keys and values of the prompt too, of the last one until the
    # next has been read; its encoder reads all of a prompt at once.
    two_sided = manifest.encoder is not None
    pairs = (model.kv_heads + 2) * model.window**2 if two_sided else 0
    at_once = model.window if two_sided else min(_CHUNK_TOKENS, model.window)
    return MemoryNeeded(
        weights=int(files * _HELD_PER_BYTE[manifest.quantization.scheme]),
        cache=(3 if two_sided else 1) * model.window * per_token,
        working=_WORKING_BYTES
        + _HELD_PER_TOKENIZER_BYTE * manifest.files[TOKENIZER_NAME].bytes
        + _ALIVE * _FLOAT_BYTES * at_once * model.widest
        + _BYTES_PER_WORD * model.vocabulary_size
        + _BYTES_PER_PAIR * pairs,
    )
