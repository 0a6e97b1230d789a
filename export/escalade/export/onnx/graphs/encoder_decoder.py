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

import numpy as np

from escalade.edge.runtimes import DECODER_ATTENTION_MASK, INPUT_IDS, PAST_PREFIX, PRESENT_PREFIX
from escalade.export.blueprints import Attention, EncoderDecoder
from escalade.export.onnx.graphs.layers import INT64, Heads
from escalade.export.onnx.graphs.stacks import EncoderStackWriter, StackWriter
from escalade.export.onnx.storing import EMBEDDING, HEAD, Storage
from escalade.export.onnx.writer import GraphWriter


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


class _EncoderWriter(EncoderStackWriter):
    def __init__(self, graph: GraphWriter, model: EncoderDecoder, storage: Storage) -> None:
        super().__init__(graph, model.encoder, storage)
        self.model = model

    def write(self) -> None:
        graph, model = self.graph, self.model
        ids = graph.input(INPUT_IDS, np.int64, ["batch", "source"])
        encoded = self.encode(ids, model.embedding, model.embedding_scale)
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


class _DecoderWriter(StackWriter):
    def __init__(self, graph: GraphWriter, model: EncoderDecoder, storage: Storage) -> None:
        super().__init__(graph, model.decoder, storage)
        self.model = model
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

        embedded = self.embed(ids, rows, model.embedding, model.embedding_scale)
        decoded = self.all_layers(embedded, self._own, self._cross)
        self.layers.head(EMBEDDING if model.tied else HEAD, model.head, self.layers.keep(decoded))

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
