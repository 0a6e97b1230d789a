"""How matrices are stored: whole, halved, in 2 to 8 bits; knows no transformer.

Weight-only schemes keep each block of a row as integers with one scale, in float16 and widened
when loaded (`MatMulNBits`); where the runtime has the instructions, activations are rounded to 8
bits too, block by block, and the products are summed as integers (`accuracy_level` 4). With 32-bit
activations no runtime rounds them, and a browser gives what a processor does: weights of 8 bits are
widened when the program is loaded, for which onnxruntime has no such kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from escalade.edge.artifact import Scheme, kernel_bits
from escalade.export.blueprints import Linear
from escalade.export.kept import Kept
from escalade.export.onnx.storing.products import (
    array,
    bounds,
    plus_bias,
    rounded_by_row,
    scales_in_float,
    store_blocks,
    store_scales,
    to_float,
    widened,
)
from escalade.export.onnx.storing.rounding import round_matrix
from escalade.export.onnx.storing.slices import slices_of
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Choice, Rounded, pack, pack_zeros
from escalade.export.threads import threads_apart

_BITS: dict[str, int] = {"int4": 4, "int8": 8}
# MatMulNBits, by the bits of an activation: at 4 it may be rounded, so that products are sums of
# integers; at 1 all is float32.
_ACCURACY_LEVELS = {8: 4, 32: 1}
_BYTE, _WHOLE = 8, 32


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A scheme and its settings."""

    scheme: Scheme
    #: Neighbours in a row that share a scale; None where the scheme has no blocks.
    block_size: int | None = None
    #: Of the embedding and the head, where the scheme has blocks; never fewer than the rest.
    head_bits: int = 8
    #: Of what a matrix in blocks is multiplied with; 8: rounded where the runtime can.
    activation_bits: int = 8
    #: The head is not rounded, nor what it reads: a classifier's has a row for each label, few
    #: bytes, and large ones beside small where what it reads has.
    whole_head: bool = False
    #: Of matrices by their names, where they were chosen one by one.
    choices: Mapping[str, Choice] = field(default_factory=dict)
    #: Of tables of words that are stored in slices, the first row of each (see `slice_name`).
    slices: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: Where matrices that were rounded by text stay until all are.
    kept: Kept = field(default_factory=Kept)
    #: Matrices by their names that are rounded already.
    known: Mapping[str, Rounded] = field(default_factory=dict)
    #: Whether these were tuned by what all come to.
    tuned: bool = False
    #: Called with the name of each matrix before it is rounded.
    progress: Callable[[str], None] = lambda name: None

    @property
    def bits(self) -> int | None:
        """Of a weight, where they are stored in blocks."""
        return _BITS.get(self.scheme)

    @property
    def rounds_inputs(self) -> bool:
        """Whether what is multiplied is rounded, where the runtime can."""
        return self.activation_bits != _WHOLE

    @property
    def detail(self) -> str:
        """In words."""
        if self.choices:
            own = "each matrix in bits and blocks of its own"
            return f"{own}, {self.activation_bits}-bit activations"
        if self.bits:
            kept = f"embedding and head {self.choice_of(HEAD).bits}-bit"
            if self.whole_head:
                kept = f"embedding {self.choice_of(EMBEDDING).bits}-bit, head float32"
            return (
                f"{self.bits}-bit weights in blocks of {self.block_size}, {kept},"
                f" {self.activation_bits}-bit activations"
            )
        return {
            "none": "float32 weights",
            "float16": "float16 weights, computed in float32",
            "dynamic-int8": "8-bit weights by row, activations rounded at run time;"
            " embedding and head in float32",
        }[self.scheme]

    def choice_of(self, name: str) -> Choice:
        """How the weight called `name` is stored, in a scheme that has blocks."""
        if name in self.choices:
            return self.choices[name]
        assert self.bits is not None  # noqa: S101 - the caller has looked
        assert self.block_size is not None  # noqa: S101 - a scheme with blocks has one
        few = name not in {EMBEDDING, HEAD}
        return Choice(self.bits if few else max(self.bits, self.head_bits), self.block_size)

    def few_scales(self, name: str, module: Linear) -> bool:
        """Whether the scales of the matrix called `name` are of few numbers.

        Where each has its own bits, all bytes are counted, and those of scales spent better.
        """
        return name in self.choices and self.choice_of(name).few_scales(*module.weight.shape)

    def rounded(self, graph: str, name: str, module: Linear, *, looked_up: bool) -> Rounded:
        """The matrix called `name` of the graph called `graph` in few bits.

        Args:
            graph: two of a model have a first layer each.
            name: of the matrix.
            module: what it is.
            looked_up: whether rows of it are read too, each by itself.
        """
        if name in self.known:
            return self.known[name]
        self.progress(name)
        few = self.few_scales(name, module)
        # What was rounded before scales were levels is no step of this.
        step = f"{graph}.{name}.{'levels' if few else 'rounded'}"
        return round_matrix(
            self.kept,
            step,
            name,
            module,
            self.choice_of(name),
            looked_up=looked_up,
            few_scales=few,
        )

    def with_rounded(self, graph: str, find: Callable[[], Mapping[str, Linear]]) -> Storage:
        """One that knows some matrices rounded, side by side, where text says how.

        Args:
            graph: whose they are.
            find: gives them by their names, if they are to be rounded; of none rows are read.
        """
        if not self.bits:
            return self
        matrices = find()
        names = [name for name, one in matrices.items() if one.hessian is not None]
        # The largest takes longest, and begins: few threads then wait for the last.
        names.sort(key=lambda name: -matrices[name].weight.numel())

        def one(name: str) -> Rounded:
            return self.rounded(graph, name, matrices[name], looked_up=False)

        with threads_apart() as pool:
            rounded = dict(zip(names, pool.map(one, names), strict=True))
        return replace(self, known={**self.known, **rounded})

    def linear(self, graph: GraphWriter, name: str, module: Linear, values: str) -> str:
        """`values W^T + b`; returns the output's name. A `name` seen before is not stored again."""
        if firsts := self.slices.get(name):
            products = [
                self.linear(graph, own, module.rows(rows), values)
                for own, rows in slices_of(name, firsts, len(module.weight))
            ]
            return graph.node("Concat", products, axis=-1)
        if self.bits and not (self.whole_head and name == HEAD):
            return self._in_blocks(graph, name, module, values)
        if self.scheme == "dynamic-int8" and name not in {EMBEDDING, HEAD}:
            return rounded_by_row(graph, name, module, values)
        product = graph.microsoft(
            "FusedMatMul", [values, self._whole(graph, name, module.weight)], transB=1
        )
        return plus_bias(graph, name, module, product)

    def embedding(
        self, graph: GraphWriter, name: str, table: Tensor, ids: str, head: Linear | None = None
    ) -> str:
        """Rows of a table `(V, H)`, in float32; the head of the same `name` shares its bytes.

        Args:
            graph: to write to.
            name: of the table.
            table: `(V, H)`.
            ids: of the rows.
            head: the one that shares its bytes, whose products the rounding keeps too.
        """
        if firsts := self.slices.get(name):
            return self._rows_of_slices(graph, name, firsts, head or Linear(table), ids)
        if self.bits:
            return self._rows_of_blocks(graph, name, head or Linear(table), ids)
        rows = graph.node("Gather", [self._stored(graph, name, table), ids])
        return to_float(graph, rows) if self.scheme == "float16" else rows

    def borrow(self, graph: GraphWriter, name: str, of: GraphWriter) -> None:
        """Let `graph` find the matrix called `name` where `of` has stored it."""
        for kind in ("", ".blocks", ".scales", ".levels", ".zeros"):
            one = f"{name}{kind}"
            if of.has(one):
                graph.borrow(one, of)

    def _rows_of_slices(
        self, graph: GraphWriter, name: str, firsts: Sequence[int], table: Linear, ids: str
    ) -> str:
        """Looked up in every slice, as if the row that it lies next to; taken from its own."""
        found = ""
        axis = graph.weight("last_axis", np.array([-1], np.int64))
        for own, rows in slices_of(name, firsts, len(table.weight)):
            first, last = (
                graph.weight(f"{own}.{end}", np.array(row, np.int64))
                for end, row in (("first_row", rows.start), ("last_row", rows.stop - 1))
            )
            inside = graph.node("Sub", [graph.node("Clip", [ids, first, last]), first])
            here = self._rows_of_blocks(graph, own, table.rows(rows), inside)
            if not found:
                found = here
                continue
            below = graph.node("Unsqueeze", [graph.node("Less", [ids, first]), axis])
            found = graph.node("Where", [below, found, here])
        return found

    def _rows_of_blocks(self, graph: GraphWriter, name: str, table: Linear, ids: str) -> str:
        zeros = self._store_blocks(graph, name, table, looked_up=True)
        rows, columns = table.weight.shape
        bits, size = self.choice_of(name)
        blocks, wide = -(-columns // size), kernel_bits(bits)
        padded = blocks * size
        # The bytes that MatMulNBits reads, in the shapes that a lookup wants.
        found = graph.microsoft(
            "GatherBlockQuantized",
            [
                graph.view(f"{name}.rows", f"{name}.blocks", [rows, padded * wide // 8]),
                ids,
                scales_in_float(
                    graph, name, graph.view(f"{name}.row_scales", f"{name}.scales", [rows, blocks])
                ),
                *([zeros] if zeros else []),
            ],
            bits=wide,
            block_size=size,
            gather_axis=0,
            quantize_axis=1,
        )
        if padded == columns:
            return found
        return graph.node("Slice", [found, *bounds(graph, name, columns)])

    def _stored(self, graph: GraphWriter, name: str, weight: Tensor) -> str:
        if graph.has(name):
            return name
        values = array(weight)
        return graph.weight(name, values.astype(np.float16) if self.scheme == "float16" else values)

    def _whole(self, graph: GraphWriter, name: str, weight: Tensor) -> str:
        stored = self._stored(graph, name, weight)
        # onnxruntime does this once, when it loads.
        return to_float(graph, stored) if self.scheme == "float16" else stored

    def _in_blocks(self, graph: GraphWriter, name: str, module: Linear, values: str) -> str:
        zeros = self._store_blocks(graph, name, module)
        rows, columns = module.weight.shape
        bits, size = self.choice_of(name)
        if not self.rounds_inputs and kernel_bits(bits) == _BYTE:
            return plus_bias(graph, name, module, widened(graph, name, module, values, size))
        more = [zeros] if zeros else []
        if module.bias is not None:
            more = [zeros, "", graph.weight(f"{name}.bias", array(module.bias))]
        return graph.microsoft(
            "MatMulNBits",
            [values, f"{name}.blocks", scales_in_float(graph, name, f"{name}.scales"), *more],
            K=columns,
            N=rows,
            bits=kernel_bits(bits),
            block_size=size,
            accuracy_level=_ACCURACY_LEVELS[self.activation_bits],
        )

    def _store_blocks(
        self, graph: GraphWriter, name: str, module: Linear, *, looked_up: bool = False
    ) -> str:
        """Round and store, once; returns the name of the zero points, empty where all are 0."""
        if not graph.has(f"{name}.scales"):
            choice = self.choice_of(name)
            bits, size = choice
            rounded = self.rounded(graph.name, name, module, looked_up=looked_up)
            store_blocks(graph, f"{name}.blocks", choice, pack(rounded, bits, size))
            wider = 1 << (kernel_bits(bits) - bits)
            store_scales(
                graph, name, rounded.grid.scales.numpy(), self.few_scales(name, module), wider
            )
            if rounded.grid.zeros is not None:
                graph.weight(f"{name}.zeros", pack_zeros(rounded.grid.zeros, bits))
        return f"{name}.zeros" if graph.has(f"{name}.zeros") else ""


#: The name under which the token embedding and a head that is tied to it are stored.
EMBEDDING = "embedding"
HEAD = "head"
