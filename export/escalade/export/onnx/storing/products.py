"""Products, and what they are made of: integers, scales, bounds; knows no scheme.

Beside what `MatMulNBits` reads, weights that are widened when a program is loaded, and those of
`dynamic-int8`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from escalade.edge.artifact import kernel_bits
from escalade.export.blueprints import Linear
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Choice

_BYTE_MIDDLE = 128  # an integer of a block is stored as so much more
_INT8_MAX = 127
_BYTES = 256  # that there are
_INT32 = 6  # as ONNX numbers types
_TINY = 1e-12  # a row of zeros still needs a scale


def widened(graph: GraphWriter, name: str, module: Linear, values: str, block: int) -> str:
    """`values W^T`, by 8-bit weights that onnxruntime widens once, when it loads."""
    rows, columns = module.weight.shape
    blocks = -(-columns // block)
    middle = graph.weight(f"{name}.middle", np.array(_BYTE_MIDDLE, np.float32))
    integers = graph.node("Sub", [to_float(graph, f"{name}.blocks"), middle])
    scales = scales_in_float(
        graph, name, graph.view(f"{name}.block_scales", f"{name}.scales", [rows, blocks, 1])
    )
    shape = graph.weight(f"{name}.shape", np.array([rows, blocks * block], np.int64))
    weight = graph.node("Reshape", [graph.node("Mul", [integers, scales]), shape])
    if blocks * block != columns:
        weight = graph.node("Slice", [weight, *bounds(graph, name, columns)])
    return graph.microsoft("FusedMatMul", [values, weight], transB=1)


def rounded_by_row(graph: GraphWriter, name: str, module: Linear, values: str) -> str:
    """`values W^T + b`, by 8-bit weights with a scale for each row; activations are rounded too."""
    columns_first = array(module.weight).T
    scales = np.maximum(np.abs(columns_first).max(axis=0), _TINY) / _INT8_MAX
    rounded = np.clip(np.round(columns_first / scales), -_INT8_MAX, _INT8_MAX).astype(np.int8)
    bias = []
    if module.bias is not None:
        bias = [graph.weight(f"{name}.bias", array(module.bias))]
    return graph.microsoft(
        "DynamicQuantizeMatMul",
        [
            values,
            graph.weight(f"{name}.int8", rounded),
            graph.weight(f"{name}.scales", scales.astype(np.float32)),
            graph.weight(f"{name}.zeros", np.zeros(scales.shape, np.int8)),
            *bias,
        ],
    )


def plus_bias(graph: GraphWriter, name: str, module: Linear, product: str) -> str:
    """A product, and the bias of the layer where it has one."""
    if module.bias is None:
        return product
    return graph.node("Add", [product, graph.weight(f"{name}.bias", array(module.bias))])


def bounds(graph: GraphWriter, name: str, columns: int) -> list[str]:
    """Of a `Slice` that leaves out what fills the last block up."""
    ends = (("first", 0), ("end", columns), ("axis", -1))
    return [graph.weight(f"{name}.{end}", np.array([at], np.int64)) for end, at in ends]


def to_float(graph: GraphWriter, value: str) -> str:
    """In float32."""
    return graph.node("Cast", [value], to=1)


def in_float(graph: GraphWriter, stored: str) -> str:
    """What kernels take in float32 alone; onnxruntime widens halves when it loads."""
    return to_float(graph, stored) if graph.dtype(stored) == np.float16 else stored


def store_blocks(
    graph: GraphWriter, name: str, choice: Choice, planes: Sequence[NDArray[np.uint8]]
) -> None:
    """The bytes that `MatMulNBits` reads, `(N, blocks, block_size * kernel bits / 8)`."""
    if choice.whole:
        graph.weight(name, planes[0])
        return
    bits, size = choice
    shape = [*planes[0].shape[:2], size * kernel_bits(bits) // 8]
    graph.in_planes(name, bits, planes, shape)


def store_scales(
    graph: GraphWriter, name: str, scales: NDArray[np.float32], few: bool, wider: int
) -> None:
    """In float16 where they are ones, or in float32; of few numbers each as which of them it is.

    Args:
        graph: to write to.
        name: of the matrix.
        scales: of its integers.
        few: whether they are of few numbers.
        wider: what kernels read is so many times as large as the integers, a power of 2.
    """
    if few:
        levels, codes = np.unique(scales, return_inverse=True)
        assert len(levels) <= _BYTES, name  # noqa: S101 - rounded so
        graph.weight(f"{name}.levels", levels / np.float32(wider))
        graph.weight(f"{name}.scales", codes.reshape(scales.shape).astype(np.uint8))
        return
    if wider > 1:  # not divided where they are stored: what is left of a float16 may be none
        graph.weight(f"{name}.wider", np.array(1 / wider, np.float32))
    with np.errstate(over="ignore"):
        halves = scales.astype(np.float16)
    graph.weight(f"{name}.scales", halves if np.array_equal(halves, scales) else scales)


def scales_in_float(graph: GraphWriter, name: str, stored: str) -> str:
    """A matrix's scales, or a view of them, as kernels take them; onnxruntime loads them so."""
    if graph.has(f"{name}.levels"):
        return graph.node("Gather", [f"{name}.levels", graph.node("Cast", [stored], to=_INT32)])
    scales, wider = in_float(graph, stored), f"{name}.wider"
    return graph.node("Mul", [scales, wider]) if graph.has(wider) else scales


def array(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor's numbers in float32."""
    values: NDArray[np.float32] = tensor.detach().float().numpy()
    return values
