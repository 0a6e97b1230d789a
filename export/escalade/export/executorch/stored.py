"""Reads off a program what its embedding was stored by; knows no model, no manifest."""

from __future__ import annotations

from pathlib import Path

from executorch.exir._serialize._program import deserialize_pte_binary

from escalade.export.executorch.torchao import EmbeddingBits

# Operators that look a rounded row up (executorch, kernels/quantized/quantized.yaml), by its bits.
_LOOKUPS: dict[str, EmbeddingBits] = {
    "quantized_decomposed::embedding_4bit": 4,
    "quantized_decomposed::embedding_byte": 8,
}


def embedding_bits_of(program: Path) -> EmbeddingBits | None:
    """What `escalade export` was told of the embedding, or took; None where it is in float32.

    Args:
        program: as `export_executorch` wrote it.
    """
    plans = deserialize_pte_binary(program.read_bytes()).program.execution_plan
    named = {operator.name for plan in plans for operator in plan.operators}
    return next((bits for name, bits in _LOOKUPS.items() if name in named), None)
