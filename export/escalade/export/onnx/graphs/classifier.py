"""Writes the graph of an encoder that classifies, or of sentences; knows no family of models.

It reads `input_ids` (1, T), one text with its special tokens and no padding, and gives
`class_logprobs` (1, K) or `sentence_embedding` (1, H), which has length 1.
"""

from __future__ import annotations

import numpy as np

from escalade.edge.runtimes import CLASS_LOGPROBS, INPUT_IDS, SENTENCE_EMBEDDING
from escalade.export.blueprints import Classifier
from escalade.export.onnx.graphs.layers import INT64
from escalade.export.onnx.graphs.stacks import EncoderStackWriter
from escalade.export.onnx.storing import HEAD, Storage
from escalade.export.onnx.writer import GraphWriter


def write_classifier(graph: GraphWriter, model: Classifier, storage: Storage) -> None:
    """Write all of it.

    Args:
        graph: open and empty.
        model: what it is made of.
        storage: how its matrices are kept.
    """
    ids = graph.input(INPUT_IDS, np.int64, [1, "tokens"])
    rows = None
    if model.padding_id is not None:
        padding = graph.weight("padding_id", np.array(model.padding_id, np.int64))
        rows = _Counted(graph, ids, padding).rows
    writer = EncoderStackWriter(graph, model.encoder, storage)
    encoded = writer.encode(ids, model.embedding, rows=rows)
    axis = graph.weight("second_axis", np.array([1], np.int64))
    if model.pooler is None:
        read = graph.node("ReduceMean", [encoded, axis], keepdims=1)
    else:
        zero = graph.weight("first", np.array([0], np.int64))
        first = graph.node("Gather", [encoded, zero], axis=1)
        pooled = storage.linear(graph, "pooler", model.pooler, first)
        read = graph.node({"tanh": "Tanh", "relu": "Relu"}[model.activation], [pooled])
    if model.head is None:
        flat = graph.node("Squeeze", [read, axis])
        unit = graph.node("LpNormalization", [flat], axis=-1, p=2)
        graph.output(SENTENCE_EMBEDDING, unit, np.float32, [1, model.embedding.shape[1]])
        return
    logits = storage.linear(graph, HEAD, model.head, read)
    logits = graph.node("Squeeze", [logits, axis])
    classes = model.head.weight.shape[0]
    graph.output(
        CLASS_LOGPROBS, graph.node("LogSoftmax", [logits], axis=-1), np.float32, [1, classes]
    )


class _Counted:
    """Positions that count tokens from 1 on, and padding, where a text spells it, as 0."""

    def __init__(self, graph: GraphWriter, ids: str, padding: str) -> None:
        self._graph, self._ids, self._padding = graph, ids, padding

    def rows(self, table: str) -> str:
        graph = self._graph
        counts = graph.node(
            "Cast",
            [graph.node("Not", [graph.node("Equal", [self._ids, self._padding])])],
            to=INT64,
        )
        axis = graph.weight("tokens_axis", np.array(1, np.int64))
        places = graph.node("Mul", [graph.node("CumSum", [counts, axis]), counts])
        return graph.node("Gather", [table, places])
