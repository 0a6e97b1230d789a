"""Writes the layers that graphs of transformers share, one at a time; knows no model whole.

Attention over a cache is `GroupQueryAttention`: where a runtime binds one buffer as past and
as present, it writes the new keys and values into it in place; otherwise the present grows by
T. The head scores itself: it gives the greedy token and its log-probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from escalade.checkpoint import Activation
from escalade.edge.runtimes import LOGITS, LOGITS_TO_KEEP, LOGPROB, NEXT_TOKEN
from escalade.export.blueprints import Attention, FeedForward, Linear, Norm
from escalade.export.onnx.storing import Storage, array
from escalade.export.onnx.writer import GraphWriter

# onnx.TensorProto's numbers.
INT32, INT64 = 6, 7


class Heads(NamedTuple):
    """How many there are, and how wide each is."""

    queries: int
    keys: int
    width: int


class LayerWriter:
    """Writes layers of one graph, whose matrices are kept one way."""

    def __init__(self, graph: GraphWriter, storage: Storage) -> None:
        self.graph, self.storage = graph, storage

    def lengths(self, mask: str) -> None:
        """What GroupQueryAttention wants to know: the last position, and how many there are.

        Args:
            mask: (B, past + T), ones; no more than its length counts.
        """
        graph = self.graph
        axis = graph.weight("one", np.array([1], np.int64))
        seen = graph.node("ReduceSum", [mask, axis], keepdims=0)
        last = graph.node("Sub", [seen, axis])
        graph.node("Cast", [last], outputs=["last_position"], to=INT32)
        shape = graph.node("Shape", [mask], start=1, end=2)
        length = graph.node("Squeeze", [shape])
        graph.node("Cast", [length], outputs=["total_length"], to=INT32)

    def positions(self, ids: str) -> str:
        """`(T,)`, the positions of new tokens; `lengths` comes before."""
        graph = self.graph
        total = graph.node("Cast", ["total_length"], to=INT64)
        new = graph.node("Squeeze", [graph.node("Shape", [ids], start=1, end=2)])
        zero, step = (graph.weight(f"int_{n}", np.array(n, np.int64)) for n in (0, 1))
        # Not Range(past, total): onnxruntime would make a Slice of it that does not load.
        offsets = graph.node("Range", [zero, new, step])
        return graph.node("Add", [offsets, graph.node("Sub", [total, new])])

    def norm(self, name: str, norm: Norm, hidden: str, pending: str | None) -> tuple[str, str]:
        """Norm of `hidden + pending`; returns that and the sum."""
        graph = self.graph
        weights = [graph.weight(f"{name}.weight", array(norm.weight))]
        if norm.centred:
            bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
            weights.append(graph.weight(f"{name}.bias", array(bias)))
        if pending is None:
            kind = "LayerNormalization" if norm.centred else "SimplifiedLayerNormalization"
            return graph.node(kind, [hidden, *weights], axis=-1, epsilon=norm.epsilon), hidden
        kind = "SkipLayerNormalization" if norm.centred else "SkipSimplifiedLayerNormalization"
        outputs = [f"{name}.out", "", "", f"{name}.sum"]
        graph.microsoft(kind, [hidden, pending, *weights], outputs=outputs, epsilon=norm.epsilon)
        return outputs[0], outputs[3]

    def cached_attention(
        self,
        name: str,
        attention: Attention,
        heads: Heads,
        normed: str,
        *,
        past: str,
        present: str,
        angles: Sequence[str] = (),
        bias: str | None = None,
        kept: bool = False,
    ) -> str:
        """Causal self-attention over a past; `lengths` comes before.

        Args:
            name: of the layer's attention.
            attention: what it is made of.
            heads: of it.
            normed: (B, T, H).
            past: names of the graph's inputs but for `.key` and `.value`.
            present: the same of its outputs.
            angles: cosines and sines, where positions are rotated.
            bias: (1, heads, T, past + T), added to the products of queries and keys.
            kept: whether it says only what it finds for the positions to `keep`.
        """
        graph = self.graph
        packed = stack(attention.query, attention.key, attention.value)
        mixed = self.storage.linear(graph, f"{name}.qkv", packed, normed)
        queries, keys, values = mixed, "", ""
        if attention.query_norm is not None and attention.key_norm is not None:
            queries, keys, values = self._split(name, heads, mixed)
            queries = self._head_norm(f"{name}.query_norm", attention.query_norm, heads, queries)
            keys = self._head_norm(f"{name}.key_norm", attention.key_norm, heads, keys)
        shape: list[int | str] = ["batch", heads.keys, "past", heads.width]
        grown: list[int | str] = ["batch", heads.keys, "total", heads.width]
        kinds = ("key", "value")
        pasts = [graph.input(f"{past}.{kind}", np.float32, shape) for kind in kinds]
        presents = [f"{name}.present.{kind}" for kind in kinds]
        attributes: dict[str, int | float] = {
            "num_heads": heads.queries,
            "kv_num_heads": heads.keys,
            "do_rotary": int(attention.rotary),
        }
        if attention.scale is not None:
            attributes["scale"] = attention.scale
        if attention.sliding_window is not None:
            attributes["local_window_size"] = attention.sliding_window
        inputs = [queries, keys, values, *pasts, "last_position", "total_length"]
        if bias is not None:
            inputs += [*(angles or ("", "")), "", bias]  # between them, positions: counted up
        else:
            inputs += angles
        graph.microsoft(
            "GroupQueryAttention", inputs, outputs=[f"{name}.out", *presents], **attributes
        )
        for kind, value in zip(kinds, presents, strict=True):
            graph.output(f"{present}.{kind}", value, np.float32, grown)
        found = self.keep(f"{name}.out") if kept else f"{name}.out"
        return self.storage.linear(graph, f"{name}.output", attention.output, found)

    def keep(self, hidden: str) -> str:
        """(B, K, H) of (B, T, H): of the positions whose next tokens are asked for, see `head`."""
        return self.graph.node("Gather", [hidden, LOGITS_TO_KEEP], axis=1)

    def feed_forward(self, name: str, layer: FeedForward, normed: str) -> str:
        """Of the layer called `name`."""
        graph, storage = self.graph, self.storage
        if layer.gate is None:
            wide = storage.linear(graph, f"{name}.up", layer.up, normed)
            return storage.linear(
                graph, f"{name}.down", layer.down, self._activate(layer.activation, wide)
            )
        # One product instead of two: fewer times that threads must meet.
        both = storage.linear(graph, f"{name}.gate_up", stack(layer.gate, layer.up), normed)
        outputs = [f"{name}.gate", f"{name}.up"]
        graph.node("Split", [both], outputs=outputs, axis=-1, num_outputs=2)
        wide = graph.node("Mul", [self._activate(layer.activation, outputs[0]), outputs[1]])
        return storage.linear(graph, f"{name}.down", layer.down, wide)

    def head(self, name: str, head: Linear, kept: str) -> None:
        """Logits of the positions to keep, the greedy tokens and their log-probabilities.

        log p(y) = log max softmax(logits): a sum of float32 that loses less than max -
        logsumexp, whose terms are tens apart from their difference.

        Args:
            name: under which its matrix is stored.
            head: `(V, H)`.
            kept: (B, K, H), normed, of the positions to `keep`.
        """
        graph = self.graph
        graph.default(LOGITS_TO_KEEP, np.array([-1], np.int64), ["kept"])
        logits = self.storage.linear(graph, name, head, kept)
        vocabulary = head.weight.shape[0]
        greedy = graph.node("ArgMax", [logits], axis=-1, keepdims=0)
        shares = graph.node("Softmax", [logits], axis=-1)
        axis = graph.weight("vocabulary_axis", np.array([-1], np.int64))
        best = graph.node("ReduceMax", [shares, axis], keepdims=0)
        logprob = graph.node("Log", [best])
        graph.output(NEXT_TOKEN, greedy, np.int64, ["batch", "kept"])
        graph.output(LOGPROB, logprob, np.float32, ["batch", "kept"])
        graph.output(LOGITS, logits, np.float32, ["batch", "kept", vocabulary])

    def _split(self, name: str, heads: Heads, mixed: str) -> tuple[str, str, str]:
        widths = np.array([heads.queries, heads.keys, heads.keys], np.int64) * heads.width
        outputs = [f"{name}.{kind}" for kind in ("queries", "keys", "values")]
        self.graph.node(
            "Split", [mixed, self.graph.weight(f"{name}.widths", widths)], outputs=outputs, axis=-1
        )
        return outputs[0], outputs[1], outputs[2]

    def _head_norm(self, name: str, norm: Norm, heads: Heads, values: str) -> str:
        """Norm over each head of (B, T, heads * head_dim)."""
        graph = self.graph
        by_head = graph.weight(f"{name}.by_head", np.array([0, 0, -1, heads.width], np.int64))
        flat = graph.weight(f"{name}.flat", np.array([0, 0, -1], np.int64))
        normed, _ = self.norm(name, norm, graph.node("Reshape", [values, by_head]), None)
        return graph.node("Reshape", [normed, flat])

    def _activate(self, kind: Activation, values: str) -> str:
        if kind == "silu":
            return self.graph.microsoft("QuickGelu", [values], alpha=1.0)
        if kind == "relu":
            return self.graph.node("Relu", [values])
        approximate = "tanh" if kind == "gelu_tanh" else "none"
        return self.graph.node("Gelu", [values], approximate=approximate)


def stack(*linears: Linear) -> Linear:
    """Several products of the same input as one."""
    weight = torch.cat([one.weight for one in linears])
    hessian, curvature, bias = linears[0].hessian, None, None
    curvatures = [one.curvature for one in linears if one.curvature is not None]
    if len(curvatures) == len(linears):
        curvature = torch.cat(curvatures)
    if any(one.bias is not None for one in linears):
        bias = torch.cat(
            [torch.zeros(len(one.weight)) if one.bias is None else one.bias for one in linears]
        )
    own = any(one.hessian is not hessian for one in linears)
    return Linear(weight, bias, hessian, curvature, linears if own else ())
