"""How much memory an artifact will take, said before it is loaded; knows no runtime."""

from __future__ import annotations

from typing import NamedTuple

from escalade.edge.manifest import TOKENIZER_NAME, Manifest, Scheme

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
# Intermediate results of one chunk of a prompt, the tokenizer, and what the runtime allocates
# for itself.
_WORKING_BYTES = 48 << 20
# T5's encoder adds a bias by relative position to each pair of tokens, for each head, and holds
# it twice while it attends.
_BYTES_PER_PAIR = 8
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
    caches, pairs = 1, 0
    if manifest.encoder is not None:
        caches = 2  # of the prompt too, for each decoder layer
        pairs = (model.kv_heads + 2) * model.window**2
    return MemoryNeeded(
        weights=int(files * _HELD_PER_BYTE[manifest.quantization.scheme]),
        cache=caches * model.window * per_token,
        working=_WORKING_BYTES + _BYTES_PER_WORD * model.vocabulary_size + _BYTES_PER_PAIR * pairs,
    )
