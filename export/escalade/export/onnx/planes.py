"""Stores a matrix's integers in planes, and joins them in the graph; knows no scheme, no rounding.

onnxruntime joins them once, when it loads: its kernels read the next wider integers, which are then
as fast as others of that width, and as large in memory. What is spared is what is stored and sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import plane_tables

_JOIN = "Join{}Bits"


def store_planes(
    graph: GraphWriter, name: str, bits: int, planes: Sequence[NDArray[np.uint8]]
) -> None:
    """As `pack` gives them; `NAME.blocks` are then the bytes that `MatMulNBits` reads."""
    if len(planes) == 1:
        graph.weight(f"{name}.blocks", planes[0])
        return
    stored = [graph.weight(f"{name}.plane_{number}", plane) for number, plane in enumerate(planes)]
    graph.define(
        _JOIN.format(bits), [f"plane_{number}" for number in range(len(planes))], _nodes(bits)
    )
    graph.own(_JOIN.format(bits), stored, outputs=[f"{name}.blocks"])


def rows_of_blocks(graph: GraphWriter, name: str, shape: Sequence[int]) -> str:
    """The same bytes in the shape `(N, bytes)` that a lookup wants."""
    if graph.has(f"{name}.blocks"):
        return graph.view(f"{name}.rows", f"{name}.blocks", shape)
    whole = graph.weight("whole_rows", np.array([0, -1], np.int64))
    return graph.node("Reshape", [f"{name}.blocks", whole])


def _nodes(bits: int) -> list[onnx.NodeProto]:
    """Each byte of a plane is what its table says; planes are or-ed."""

    def constant(name: str, values: NDArray[np.generic]) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))

    nodes = [constant("shape", np.array([0, 0, -1], np.int64))]
    parts = []
    for number, table in enumerate(plane_tables(bits)):
        index, of_byte, found, part = (
            f"{kind}_{number}" for kind in ("index", "of_byte", "found", "part")
        )
        nodes += [
            constant(of_byte, table),
            helper.make_node("Cast", [f"plane_{number}"], [index], to=onnx.TensorProto.INT32),
            helper.make_node("Gather", [of_byte, index], [found]),
            helper.make_node("Reshape", [found, "shape"], [part]),
        ]
        parts.append(part)
    return [*nodes, helper.make_node("BitwiseOr", parts, ["blocks"])]
