"""Writes stacks of layers, of encoders and decoders that attend to one another; no model whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from torch import Tensor

from escalade.export.blueprints import Attention, Layer, Norm, RelativeBias, Stack
from escalade.export.onnx.graphs.layers import LayerWriter
from escalade.export.onnx.storing import EMBEDDING, Storage, array
from escalade.export.onnx.writer import GraphWriter

# Layer, what its attention is made of, what it reads; returns what it writes.
_Attend = Callable[[int, Attention, str], str]


class StackWriter:
    """What all have in common: embeddings, and layers with their norms before or after."""

    def __init__(self, graph: GraphWriter, stack: Stack, storage: Storage) -> None:
        self.graph, self.stack, self.storage = graph, stack, storage
        self.layers = LayerWriter(graph, storage)

    def embed(self, ids: str, rows: Callable[[str], str], embedding: Tensor, scale: float) -> str:
        """`(B, T, H)` of ids `(B, T)`; `rows` looks their positions up in a table."""
        graph, stack = self.graph, self.stack
        hidden = self.storage.embedding(graph, EMBEDDING, embedding, ids)
        if scale != 1.0:
            factor = graph.weight("embedding_scale", np.array(scale, np.float32))
            hidden = graph.node("Mul", [hidden, factor])
        if stack.positions is not None:
            table = graph.weight("positions", array(stack.positions))
            hidden = graph.node("Add", [hidden, rows(table)])
        if stack.embedding_norm is not None:
            hidden, _ = self.layers.norm("embedding_norm", stack.embedding_norm, hidden, None)
        return hidden

    def all_layers(self, hidden: str, own: _Attend, cross: _Attend | None = None) -> str:
        """All layers, and the last norm where there is one.

        Args:
            hidden: `(B, T, H)`.
            own: writes a layer's attention of tokens to one another.
            cross: writes its attention to the encoder's tokens.
        """
        final, pending = self.stack.final_norm, None
        for index, layer in enumerate(self.stack.layers):
            name = f"layers.{index}"
            for kind, norm, run in self._branches(index, name, layer, own, cross):
                if final is None:
                    hidden, _ = self.layers.norm(f"{name}.{kind}_norm", norm, hidden, run(hidden))
                else:
                    normed, hidden = self.layers.norm(f"{name}.{kind}_norm", norm, hidden, pending)
                    pending = run(normed)
        if final is not None:
            hidden, _ = self.layers.norm("final_norm", final, hidden, pending)
        return hidden

    def attend(self, name: str, attention: Attention, queries: str, *others: str) -> str:
        """`MultiHeadAttention` with keys, values and what else it takes."""
        scale = self.stack.head_dim**-0.5 if attention.scale is None else attention.scale
        attended = self.graph.microsoft(
            "MultiHeadAttention", [queries, *others], num_heads=self.stack.heads, scale=scale
        )
        return self.storage.linear(self.graph, f"{name}.output", attention.output, attended)

    def relative_bias(self, bias: RelativeBias, queries: str, keys: str) -> str:
        """`(1, heads, T, S)` of the positions of queries `(T,)` and keys `(S,)`."""
        graph = self.graph
        row, column = (graph.weight(f"axis_{n}", np.array([n], np.int64)) for n in (0, 1))
        at = {"first": 0, "same": bias.past, "last": bias.table.shape[1] - 1}
        first, same, last = (
            graph.weight(f"bias.{name}", np.array(value, np.int64)) for name, value in at.items()
        )
        apart = graph.node(
            "Sub",
            [graph.node("Unsqueeze", [keys, row]), graph.node("Unsqueeze", [queries, column])],
        )
        index = graph.node("Clip", [graph.node("Add", [apart, same]), first, last])
        table = graph.weight("bias.table", array(bias.table))
        by_head = graph.node("Gather", [table, index], axis=1)
        return graph.node("Unsqueeze", [by_head, row])

    def count(self, length: str) -> str:
        """`(length,)`, from 0 on."""
        zero, step = (self.graph.weight(f"int_{n}", np.array(n, np.int64)) for n in (0, 1))
        return self.graph.node("Range", [zero, length, step])

    def _branches(
        self, index: int, name: str, layer: Layer, own: _Attend, cross: _Attend | None
    ) -> Iterator[tuple[str, Norm, Callable[[str], str]]]:
        yield "attention", layer.own.norm, partial(own, index, layer.own.attention)
        if layer.cross is not None and cross is not None:
            across = partial(cross, index, layer.cross.attention)
            yield "cross_attention", layer.cross.norm, across
        fed = partial(self.layers.feed_forward, name, layer.feed_forward)
        yield "feed_forward", layer.feed_forward_norm, fed


class EncoderStackWriter(StackWriter):
    """An encoder, whose every token sees all others."""

    def __init__(self, graph: GraphWriter, stack: Stack, storage: Storage) -> None:
        super().__init__(graph, stack, storage)
        self._bias: str | None = None

    def encode(
        self,
        ids: str,
        embedding: Tensor,
        scale: float = 1.0,
        rows: Callable[[str], str] | None = None,
    ) -> str:
        """`(B, T, H)` of ids `(B, T)`, all of them tokens of a text.

        Args:
            ids: of the graph.
            embedding: `(V, H)`.
            scale: multiplies what is looked up in it.
            rows: looks positions up in their table; None takes the first T.
        """
        length = self.graph.node("Shape", [ids], start=1, end=2)
        if self.stack.bias is not None:
            positions = self.count(self.graph.node("Squeeze", [length]))
            self._bias = self.relative_bias(self.stack.bias, positions, positions)
        rows = rows or partial(self._first_rows, length)
        return self.all_layers(self.embed(ids, rows, embedding, scale), self._own)

    def _own(self, index: int, attention: Attention, hidden: str) -> str:
        name = f"layers.{index}.attention"
        queries, keys, values = (
            self.storage.linear(self.graph, f"{name}.{kind}", linear, hidden)
            for kind, linear in (
                ("queries", attention.query),
                ("keys", attention.key),
                ("values", attention.value),
            )
        )
        bias = [] if self._bias is None else ["", "", self._bias]  # no other bias, no mask
        return self.attend(name, attention, queries, keys, values, *bias)

    def _first_rows(self, length: str, table: str) -> str:
        # Not Gather of Range: onnxruntime would make a Slice of it that does not load.
        start = self.graph.weight("first_row", np.array([0], np.int64))
        return self.graph.node("Slice", [table, start, length, start])
