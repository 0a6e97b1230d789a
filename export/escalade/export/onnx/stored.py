"""Reads off a program what its weights were stored by; knows no model, no manifest."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import onnx

_ROUNDED = 4  # `accuracy_level` of MatMulNBits: see `storage`
_BYTE, _WHOLE = 8, 32


class StoredBy(NamedTuple):
    """What `escalade export` was told, or took, beside a scheme and its blocks."""

    #: 4 or 8, of embedding and head; None where no table of words is looked up in blocks.
    head_bits: int | None
    #: 8 or 32.
    activation_bits: int


def stored_by(program: Path) -> StoredBy:
    """Of a decoder in `int4` or `int8`, or what is beside an encoder; its weights are not read.

    Args:
        program: as `export_onnx` wrote it.
    """
    tables, levels = set[int](), set[int]()
    for node in onnx.load(program, load_external_data=False).graph.node:
        numbers = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "GatherBlockQuantized":
            tables.add(numbers["bits"])
        elif node.op_type == "MatMulNBits":
            levels.add(numbers["accuracy_level"])
    return StoredBy(
        head_bits=max(tables) if tables else None,
        # What is widened at loading leaves no such product.
        activation_bits=_BYTE if _ROUNDED in levels else _WHOLE,
    )
