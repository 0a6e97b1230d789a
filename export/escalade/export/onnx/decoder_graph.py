"""Writes the graph of a causal LM that scores itself; knows no family of models.

Inputs and outputs have the names of optimum-onnx and onnxruntime-genai: `input_ids` (B, T),
`attention_mask` (B, past + T), `past_key_values.N.key/value`, `logits`, `present.N.key/value`.
Ours are `next_token` and `logprob`, both (B, 1). Where a runtime binds one buffer as past and
as present, `GroupQueryAttention` writes the new keys and values into it in place; otherwise
the present grows by T.
"""

from __future__ import annotations

import numpy as np
import torch

from escalade.edge.runtimes.onnx_runtime import (
    ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
)
from escalade.export.onnx.blueprint import (
    Activation,
    Attention,
    Block,
    Decoder,
    FeedForward,
    Linear,
    Norm,
)
from escalade.export.onnx.storage import EMBEDDING, HEAD, Storage, array
from escalade.export.onnx.writer import GraphWriter

# onnx.TensorProto's numbers.
_INT32, _INT64 = 6, 7


def write_decoder(graph: GraphWriter, model: Decoder, storage: Storage) -> None:
    """Write all of a causal LM.

    Args:
        graph: open and empty.
        model: what it is made of.
        storage: how its matrices are kept.
    """
    _DecoderWriter(graph, model, storage).write()


class _DecoderWriter:
    def __init__(self, graph: GraphWriter, model: Decoder, storage: Storage) -> None:
        self.graph, self.model, self.storage = graph, model, storage

    def write(self) -> None:
        graph, model = self.graph, self.model
        ids = graph.input(INPUT_IDS, np.int64, ["batch", "tokens"])
        mask = graph.input(ATTENTION_MASK, np.int64, ["batch", "total"])
        self._lengths(mask)
        hidden = self.storage.embedding(graph, EMBEDDING, model.embedding, ids)
        if model.positions is not None:
            hidden = graph.node("Add", [hidden, self._learned_positions(ids)])
        if model.cosines is not None and model.sines is not None:
            graph.weight("cosines", array(model.cosines))
            graph.weight("sines", array(model.sines))
        pending: str | None = None
        for index, block in enumerate(model.blocks):
            hidden, pending = self._block(index, block, hidden, pending)
        normed, _ = self._norm("final_norm", model.final_norm, hidden, pending)
        self._head(normed)

    def _lengths(self, mask: str) -> None:
        """What GroupQueryAttention wants to know: the last position, and how many there are."""
        graph = self.graph
        axis = graph.weight("one", np.array([1], np.int64))
        seen = graph.node("ReduceSum", [mask, axis], keepdims=0)
        last = graph.node("Sub", [seen, axis])
        graph.node("Cast", [last], outputs=["last_position"], to=_INT32)
        shape = graph.node("Shape", [mask], start=1, end=2)
        length = graph.node("Squeeze", [shape])
        graph.node("Cast", [length], outputs=["total_length"], to=_INT32)

    def _learned_positions(self, ids: str) -> str:
        graph = self.graph
        assert self.model.positions is not None  # noqa: S101 - the caller has looked
        table = graph.weight("positions", array(self.model.positions))
        total = graph.node("Cast", ["total_length"], to=_INT64)
        new = graph.node("Squeeze", [graph.node("Shape", [ids], start=1, end=2)])
        zero, step = (graph.weight(f"int_{n}", np.array(n, np.int64)) for n in (0, 1))
        # Not Range(past, total): onnxruntime would make a Slice of it that does not load.
        offsets = graph.node("Range", [zero, new, step])
        return graph.node(
            "Gather", [table, graph.node("Add", [offsets, graph.node("Sub", [total, new])])]
        )

    def _block(self, index: int, block: Block, hidden: str, pending: str | None) -> tuple[str, str]:
        """Returns the residual stream and what is still to be added to it."""
        name = f"layers.{index}"
        normed, hidden = self._norm(f"{name}.attention_norm", block.attention_norm, hidden, pending)
        attended = self._attention(index, block.attention, normed)
        if block.parallel:
            normed, _ = self._norm(
                f"{name}.feed_forward_norm", block.feed_forward_norm, hidden, None
            )
            fed = self._feed_forward(name, block.feed_forward, normed)
            return hidden, self.graph.node("Add", [attended, fed])
        normed, hidden = self._norm(
            f"{name}.feed_forward_norm", block.feed_forward_norm, hidden, attended
        )
        return hidden, self._feed_forward(name, block.feed_forward, normed)

    def _norm(self, name: str, norm: Norm, hidden: str, pending: str | None) -> tuple[str, str]:
        """Norm of `hidden + pending`; returns that and the sum."""
        graph = self.graph
        parts = [graph.weight(f"{name}.weight", array(norm.weight))]
        if norm.centred:
            bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
            parts.append(graph.weight(f"{name}.bias", array(bias)))
        if pending is None:
            kind = "LayerNormalization" if norm.centred else "SimplifiedLayerNormalization"
            return graph.node(kind, [hidden, *parts], axis=-1, epsilon=norm.epsilon), hidden
        kind = "SkipLayerNormalization" if norm.centred else "SkipSimplifiedLayerNormalization"
        outputs = [f"{name}.out", "", "", f"{name}.sum"]
        graph.microsoft(kind, [hidden, pending, *parts], outputs=outputs, epsilon=norm.epsilon)
        return outputs[0], outputs[3]

    def _attention(self, index: int, attention: Attention, normed: str) -> str:
        graph, model, name = self.graph, self.model, f"layers.{index}.attention"
        packed = _stack(attention.query, attention.key, attention.value)
        mixed = self.storage.linear(graph, f"{name}.qkv", packed, normed)
        queries, keys, values = mixed, "", ""
        if attention.query_norm is not None and attention.key_norm is not None:
            queries, keys, values = self._split(name, mixed)
            queries = self._head_norm(f"{name}.query_norm", attention.query_norm, queries)
            keys = self._head_norm(f"{name}.key_norm", attention.key_norm, keys)
        shape: list[int | str] = ["batch", model.kv_heads, "past", model.head_dim]
        grown: list[int | str] = ["batch", model.kv_heads, "total", model.head_dim]
        past, present = [], []
        for kind in ("key", "value"):
            past.append(graph.input(f"{PAST_PREFIX}{index}.{kind}", np.float32, shape))
            present.append(f"{name}.present.{kind}")
        attributes: dict[str, int | float] = {
            "num_heads": model.heads,
            "kv_num_heads": model.kv_heads,
            "do_rotary": int(attention.rotary),
        }
        if attention.scale is not None:
            attributes["scale"] = attention.scale
        if attention.sliding_window is not None:
            attributes["local_window_size"] = attention.sliding_window
        angles = ["cosines", "sines"] if attention.rotary else []
        graph.microsoft(
            "GroupQueryAttention",
            [queries, keys, values, *past, "last_position", "total_length", *angles],
            outputs=[f"{name}.out", *present],
            **attributes,
        )
        for kind, value in zip(("key", "value"), present, strict=True):
            graph.output(f"{PRESENT_PREFIX}{index}.{kind}", value, np.float32, grown)
        return self.storage.linear(graph, f"{name}.output", attention.output, f"{name}.out")

    def _split(self, name: str, mixed: str) -> tuple[str, str, str]:
        model = self.model
        widths = np.array([model.heads, model.kv_heads, model.kv_heads], np.int64) * model.head_dim
        outputs = [f"{name}.{part}" for part in ("queries", "keys", "values")]
        self.graph.node(
            "Split", [mixed, self.graph.weight(f"{name}.widths", widths)], outputs=outputs, axis=-1
        )
        return outputs[0], outputs[1], outputs[2]

    def _head_norm(self, name: str, norm: Norm, values: str) -> str:
        """Norm over each head of (B, T, heads * head_dim)."""
        graph = self.graph
        by_head = graph.weight(
            f"{name}.by_head", np.array([0, 0, -1, self.model.head_dim], np.int64)
        )
        flat = graph.weight(f"{name}.flat", np.array([0, 0, -1], np.int64))
        normed, _ = self._norm(name, norm, graph.node("Reshape", [values, by_head]), None)
        return graph.node("Reshape", [normed, flat])

    def _feed_forward(self, name: str, part: FeedForward, normed: str) -> str:
        graph, storage = self.graph, self.storage
        if part.gate is None:
            wide = storage.linear(graph, f"{name}.up", part.up, normed)
            return storage.linear(
                graph, f"{name}.down", part.down, self._activate(part.activation, wide)
            )
        # One product instead of two: fewer times that threads must meet.
        both = storage.linear(graph, f"{name}.gate_up", _stack(part.gate, part.up), normed)
        outputs = [f"{name}.gate", f"{name}.up"]
        graph.node("Split", [both], outputs=outputs, axis=-1, num_outputs=2)
        wide = graph.node("Mul", [self._activate(part.activation, outputs[0]), outputs[1]])
        return storage.linear(graph, f"{name}.down", part.down, wide)

    def _activate(self, kind: Activation, values: str) -> str:
        if kind == "silu":
            return self.graph.microsoft("QuickGelu", [values], alpha=1.0)
        if kind == "relu":
            return self.graph.node("Relu", [values])
        approximate = "tanh" if kind == "gelu_tanh" else "none"
        return self.graph.node("Gelu", [values], approximate=approximate)

    def _head(self, normed: str) -> None:
        """Logits of the last position, the greedy token and its log-probability.

        log p(y) = log max softmax(logits): a sum of float32 that loses less than max -
        logsumexp, whose terms are tens apart from their difference.
        """
        graph, model = self.graph, self.model
        last = graph.node(
            "Gather", [normed, graph.weight("last", np.array([-1], np.int64))], axis=1
        )
        name = EMBEDDING if model.tied else HEAD
        logits = self.storage.linear(graph, name, model.head, last)
        vocabulary = model.head.weight.shape[0]
        greedy = graph.node("ArgMax", [logits], axis=-1, keepdims=0)
        shares = graph.node("Softmax", [logits], axis=-1)
        axis = graph.weight("vocabulary_axis", np.array([-1], np.int64))
        best = graph.node("ReduceMax", [shares, axis], keepdims=0)
        logprob = graph.node("Log", [best])
        graph.output(NEXT_TOKEN, greedy, np.int64, ["batch", 1])
        graph.output(LOGPROB, logprob, np.float32, ["batch", 1])
        graph.output(LOGITS, logits, np.float32, ["batch", 1, vocabulary])


def _stack(*parts: Linear) -> Linear:
    """Several products of the same input as one."""
    weight = torch.cat([part.weight for part in parts])
    if all(part.bias is None for part in parts):
        return Linear(weight, moment=parts[0].moment)
    biases = [
        torch.zeros(part.weight.shape[0]) if part.bias is None else part.bias for part in parts
    ]
    return Linear(weight, torch.cat(biases), parts[0].moment)
