"""Writes the two graphs of an encoder-decoder that scores itself; knows no family of models.

The encoder reads `input_ids` (B, S) once and gives, for each layer N of the decoder, the keys
and values that it attends to, `present.N.encoder.key/value` (B, heads, S, head_dim). The
decoder takes them as `past_key_values.N.encoder.key/value` at each step, with `input_ids`
(B, T), `decoder_attention_mask` (B, past + T) and its own cache,
`past_key_values.N.decoder.key/value`, which is written in place where a runtime binds one
buffer as past and as `present.N.decoder.key/value`. It gives `next_token`, `logprob` and
`logits` as a decoder alone does. The names are optimum-onnx's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from escalade.edge.runtimes import DECODER_ATTENTION_MASK, INPUT_IDS, PAST_PREFIX, PRESENT_PREFIX
from escalade.export.blueprints import Attention, EncoderDecoder, Layer, Norm, RelativeBias, Stack
from escalade.export.onnx.layers import INT64, Heads, LayerWriter
from escalade.export.onnx.storage import EMBEDDING, HEAD, Storage, array
from escalade.export.onnx.writer import GraphWriter

# Layer, what its attention is made of, what it reads; returns what it writes.
_Attend = Callable[[int, Attention, str], str]


def write_encoder_decoder(
    encoder: GraphWriter, decoder: GraphWriter, model: EncoderDecoder, storage: Storage
) -> None:
    """Write all of an encoder-decoder; the embedding is stored with the decoder alone.

    Args:
        encoder: open and empty.
        decoder: open and empty, in the same folder.
        model: what it is made of.
        storage: how its matrices are kept.
    """
    _DecoderWriter(decoder, model, storage).write()
    storage.borrow(encoder, EMBEDDING, decoder)
    _EncoderWriter(encoder, model, storage).write()


class _StackWriter:
    """What the two have in common: embeddings, and layers with their norms before or after."""

    def __init__(
        self, graph: GraphWriter, model: EncoderDecoder, stack: Stack, storage: Storage
    ) -> None:
        self.graph, self.model, self.stack, self.storage = graph, model, stack, storage
        self.layers = LayerWriter(graph, storage)

    def embed(self, ids: str, rows: Callable[[str], str]) -> str:
        """`(B, T, H)` of ids `(B, T)`; `rows` looks their positions up in a table."""
        graph, stack, scale = self.graph, self.stack, self.model.embedding_scale
        hidden = self.storage.embedding(graph, EMBEDDING, self.model.embedding, ids)
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


class _EncoderWriter(_StackWriter):
    def __init__(self, graph: GraphWriter, model: EncoderDecoder, storage: Storage) -> None:
        super().__init__(graph, model, model.encoder, storage)
        self.bias: str | None = None

    def write(self) -> None:
        graph, model = self.graph, self.model
        ids = graph.input(INPUT_IDS, np.int64, ["batch", "source"])
        length = graph.node("Shape", [ids], start=1, end=2)
        if self.stack.bias is not None:
            positions = self.count(graph.node("Squeeze", [length]))
            self.bias = self.relative_bias(self.stack.bias, positions, positions)
        encoded = self.all_layers(self.embed(ids, partial(self._first_rows, length)), self._own)
        heads, width = model.decoder.heads, model.decoder.head_dim
        by_head = graph.weight("by_head", np.array([0, 0, heads, width], np.int64))
        for index, layer in enumerate(model.decoder.layers):
            assert layer.cross is not None  # noqa: S101 - a decoder's layers have it
            attention = layer.cross.attention
            for kind, linear in (("key", attention.key), ("value", attention.value)):
                flat = self.storage.linear(graph, f"cross.{index}.{kind}", linear, encoded)
                split = graph.node("Reshape", [flat, by_head])
                value = graph.node("Transpose", [split], perm=[0, 2, 1, 3])
                graph.output(
                    f"{PRESENT_PREFIX}{index}.encoder.{kind}",
                    value,
                    np.float32,
                    ["batch", heads, "source", width],
                )

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
        bias = [] if self.bias is None else ["", "", self.bias]  # no other bias, no mask
        return self.attend(name, attention, queries, keys, values, *bias)

    def _first_rows(self, length: str, table: str) -> str:
        # Not Gather of Range: onnxruntime would make a Slice of it that does not load.
        start = self.graph.weight("first_row", np.array([0], np.int64))
        return self.graph.node("Slice", [table, start, length, start])


class _DecoderWriter(_StackWriter):
    def __init__(self, graph: GraphWriter, model: EncoderDecoder, storage: Storage) -> None:
        super().__init__(graph, model, model.decoder, storage)
        self.bias: str | None = None

    def write(self) -> None:
        graph, model = self.graph, self.model
        ids = graph.input(INPUT_IDS, np.int64, ["batch", "tokens"])
        self.layers.lengths(graph.input(DECODER_ATTENTION_MASK, np.int64, ["batch", "total"]))
        positions = self.layers.positions(ids)
        if self.stack.bias is not None:
            total = graph.node("Cast", ["total_length"], to=INT64)
            self.bias = self.relative_bias(self.stack.bias, positions, self.count(total))

        def rows(table: str) -> str:
            return graph.node("Gather", [table, positions])

        decoded = self.all_layers(self.embed(ids, rows), self._own, self._cross)
        self.layers.head(EMBEDDING if model.tied else HEAD, model.head, decoded)

    def _own(self, index: int, attention: Attention, hidden: str) -> str:
        stack = self.stack
        return self.layers.cached_attention(
            f"layers.{index}.attention",
            attention,
            Heads(stack.heads, stack.heads, stack.head_dim),
            hidden,
            past=f"{PAST_PREFIX}{index}.decoder",
            present=f"{PRESENT_PREFIX}{index}.decoder",
            bias=self.bias,
        )

    def _cross(self, index: int, attention: Attention, hidden: str) -> str:
        name = f"layers.{index}.cross_attention"
        queries = self.storage.linear(self.graph, f"{name}.queries", attention.query, hidden)
        encoded = [
            self.graph.input(
                f"{PAST_PREFIX}{index}.encoder.{kind}",
                np.float32,
                ["batch", self.stack.heads, "source", self.stack.head_dim],
            )
            for kind in ("key", "value")
        ]
        return self.attend(name, attention, queries, *encoded)
