"""Writes an ONNX model file, its weights streamed to a data file beside it; knows no transformer.

A weight goes to disk as soon as it is made, so that writing a model takes no second copy of
it in memory, and a model of any size passes the two gigabytes that a protobuf may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from escalade.edge.artifact import PlanesEntry, planes_name
from escalade.edge.runtimes import data_name, joined_name

PROGRAM_NAME = "model.onnx"
# Of ai.onnx: 20 has Gelu; later ones bring nothing that is used here.
_OPSET = 21
_IR_VERSION = 10  # what opset 21 asks for
# A cache line. onnxruntime maps from the page before by itself; whole pages would double the
# size of a small model.
_ALIGNMENT_BYTES = 64
#: An array of no more lies in the model file itself.
INLINE_BYTES = 1024
_MICROSOFT = "com.microsoft"


class GraphWriter:
    """Collects nodes and writes weights; the model file is written when the block ends well.

    Example:
        >>> with GraphWriter(folder / "model.onnx", "decoder") as graph:
        ...     x = graph.input("x", np.float32, ["n"])
        ...     graph.output("y", graph.node("Relu", [x]), np.float32, ["n"])
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open the data file.

        Args:
            path: the model file; its data file has `.data` appended.
            name: of the graph.
        """
        self._path = path
        #: Of the graph.
        self.name = name
        self._data: IO[bytes] = path.with_name(data_name(path.name)).open("wb")
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        #: Of matrices that are stored in planes, in the order of their file.
        self.planes: list[PlanesEntry] = []
        self._count = 0

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input; returns its name."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def default(self, name: str, values: NDArray[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input that need not be fed; returns its name."""
        self.input(name, values.dtype.type, shape)
        return self.weight(name, values)

    def output(
        self, name: str, value: str, dtype: type[np.generic], shape: Sequence[int | str]
    ) -> None:
        """Declare that the node output `value` leaves the graph as `name`."""
        self._outputs.append(_value_info(name, dtype, shape))
        for node in self._nodes:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    if found == value:
                        names[index] = name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] | None = None,
        domain: str = "",
        **attributes: float | int | str | Sequence[int],
    ) -> str:
        """Add a node; returns the name of its first output.

        Args:
            kind: operator.
            inputs: names; an empty one leaves an optional input out.
            outputs: names; one that is made up here if None.
            domain: of the operator; `microsoft` spares the name.
            attributes: as ONNX has them.
        """
        self._count += 1
        outputs = [f"{kind}_{self._count}"] if outputs is None else outputs
        node = helper.make_node(kind, inputs, outputs, domain=domain)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in sorted(attributes.items())
        )
        self._nodes.append(node)
        return outputs[0]

    def microsoft(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] | None = None,
        **attributes: float | int | str | Sequence[int],
    ) -> str:
        """Add a node of onnxruntime's own operators."""
        return self.node(kind, inputs, outputs=outputs, domain=_MICROSOFT, **attributes)

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        """Store an array; returns its name."""
        values = np.ascontiguousarray(values)
        tensor = _tensor(name, values.dtype, values.shape)
        if values.nbytes <= INLINE_BYTES:
            tensor.raw_data = values.tobytes()
        else:
            self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT_BYTES))
            self._place(tensor, self._data.tell(), values.nbytes, data_name(self._path.name))
            self._data.write(values.data.cast("B"))
        # What is small may be said again, but not otherwise.
        assert self._weights.get(name, tensor) == tensor, name  # noqa: S101 - names are made here
        self._weights[name] = tensor
        return name

    def in_planes(
        self,
        name: str,
        bits: int,
        planes: Sequence[NDArray[np.uint8]],
        shape: Sequence[int],
    ) -> str:
        """Store a matrix's planes in a file of their own; returns the name of what they join to.

        Args:
            name: of the bytes that a kernel reads.
            bits: of an integer.
            planes: see `pack`.
            shape: of the bytes.
        """
        mode = "ab" if self.planes else "wb"
        with self._path.with_name(planes_name(self._path.name)).open(mode) as stored:
            for plane in planes:
                stored.write(np.ascontiguousarray(plane).data.cast("B"))
        integers = 8 * sum(plane.nbytes for plane in planes) // bits
        entry = msgspec.convert({"bits": bits, "integers": integers}, PlanesEntry)
        first = sum(one.joined_bytes for one in self.planes)
        tensor = _tensor(name, np.dtype(np.uint8), shape)
        self._place(tensor, first, entry.joined_bytes, joined_name(self._path.name))
        self.planes.append(entry)
        self._weights[name] = tensor
        return name

    def view(self, name: str, of: str, shape: Sequence[int]) -> str:
        """Another shape of a stored array: the same bytes on disk, not a copy of them."""
        stored = self._weights[of]
        tensor = onnx.TensorProto()
        tensor.CopyFrom(stored)
        tensor.name = name
        del tensor.dims[:]
        tensor.dims.extend(shape)
        self._weights[name] = tensor
        return name

    def borrow(self, name: str, of: GraphWriter) -> str:
        """A weight of another model file in the same folder: its bytes, not a copy of them."""
        self._weights[name] = of._weights[name]
        return name

    def has(self, name: str) -> bool:
        """Whether a weight of this name is stored."""
        return name in self._weights

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """Of a weight that is stored."""
        return helper.tensor_dtype_to_np_dtype(self._weights[name].data_type)

    def __enter__(self) -> GraphWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.close()
        if error is not None:
            return
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._weights.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
            ir_version=_IR_VERSION,
            producer_name="escalade",
        )
        self._path.write_bytes(model.SerializeToString())

    def _place(self, tensor: onnx.TensorProto, offset: int, length: int, file: str) -> None:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", file),
            ("offset", str(offset)),
            ("length", str(length)),
        ):
            tensor.external_data.add(key=key, value=value)


def _value_info(
    name: str, dtype: type[np.generic], shape: Sequence[int | str]
) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def _tensor(name: str, dtype: np.dtype[np.generic], shape: Sequence[int]) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(dtype))
    tensor.dims.extend(shape)
    return tensor
