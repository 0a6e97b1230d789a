"""Writes the graph of a causal LM that scores itself; knows no family of models.

Inputs and outputs have the names of optimum-onnx and onnxruntime-genai: `input_ids` (B, T),
`attention_mask` (B, past + T), `past_key_values.N.key/value`, `logits`, `present.N.key/value`.
Ours are `next_token` and `logprob`, both (B, K): of the last position, or of those that
`logits_to_keep` (K,) says, an input that need not be fed. Where a runtime binds one buffer as past
and as present, `GroupQueryAttention` writes the new keys and values into it in place; otherwise the
present grows by T.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from escalade.edge.runtimes import ATTENTION_MASK, INPUT_IDS, PAST_PREFIX, PRESENT_PREFIX
from escalade.export.blueprints import Block, Decoder
from escalade.export.onnx.graphs.layers import Heads, LayerWriter
from escalade.export.onnx.graphs.matrices import matrices_of_block
from escalade.export.onnx.storing import EMBEDDING, HEAD, Storage, array
from escalade.export.onnx.writer import GraphWriter


def write_decoder(
    graph: GraphWriter, model: Decoder, storage: Storage, *, last: bool = False
) -> None:
    """Write all of a causal LM.

    Args:
        graph: open and empty.
        model: what it is made of.
        storage: how its matrices are kept.
        last: whether nobody rounds the model again: a block's hessians go with it.
    """
    _DecoderWriter(graph, model, storage, last).write()


class _DecoderWriter:
    def __init__(self, graph: GraphWriter, model: Decoder, storage: Storage, last: bool) -> None:
        self.graph, self.model, self.storage, self.last = graph, model, storage, last
        self.layers = LayerWriter(graph, storage)
        self.heads = Heads(model.heads, model.kv_heads, model.head_dim)

    def write(self) -> None:
        graph, model = self.graph, self.model
        ids = graph.input(INPUT_IDS, np.int64, ["batch", "tokens"])
        mask = graph.input(ATTENTION_MASK, np.int64, ["batch", "total"])
        self.layers.lengths(mask)
        head = model.head if model.tied else None
        hidden = self.storage.embedding(graph, EMBEDDING, model.embedding, ids, head)
        if model.positions is not None:
            table = graph.weight("positions", array(model.positions))
            learned = graph.node("Gather", [table, self.layers.positions(ids)])
            hidden = graph.node("Add", [hidden, learned])
        if model.cosines is not None and model.sines is not None:
            graph.weight("cosines", array(model.cosines))
            graph.weight("sines", array(model.sines))
        pending: str | None = None
        for index, block in enumerate(model.blocks):
            find = partial(matrices_of_block, index, block)
            storage = self.storage.with_rounded(graph.name, find)
            self.layers = LayerWriter(graph, storage)
            hidden, pending = self._block(index, block, hidden, pending)
            if self.last:
                block.free_hessians()
        normed, _ = self.layers.norm("final_norm", model.final_norm, hidden, pending)
        self.layers.head(EMBEDDING if model.tied else HEAD, model.head, normed)

    def _block(self, index: int, block: Block, hidden: str, pending: str | None) -> tuple[str, str]:
        """Returns the residual stream and what is still to be added to it.

        What follows the last attention is computed of the positions to keep alone: no later layer
        reads the others.
        """
        write, name = self.layers, f"layers.{index}"
        last = index == len(self.model.blocks) - 1
        normed, hidden = write.norm(f"{name}.attention_norm", block.attention_norm, hidden, pending)
        attended = write.cached_attention(
            f"{name}.attention",
            block.attention,
            self.heads,
            normed,
            past=f"{PAST_PREFIX}{index}",
            present=f"{PRESENT_PREFIX}{index}",
            angles=("cosines", "sines") if block.attention.rotary else (),
            kept=last,
        )
        if last:
            hidden = write.keep(hidden)
        if block.parallel:
            normed, _ = write.norm(
                f"{name}.feed_forward_norm", block.feed_forward_norm, hidden, None
            )
            fed = write.feed_forward(name, block.feed_forward, normed)
            return hidden, self.graph.node("Add", [attended, fed])
        normed, hidden = write.norm(
            f"{name}.feed_forward_norm", block.feed_forward_norm, hidden, attended
        )
        return hidden, write.feed_forward(name, block.feed_forward, normed)
