"""What an encoder-decoder is made of, without the names its family gives its layers; no ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from escalade.export.blueprints.blueprint import Attention, FeedForward, Linear, Norm


@dataclass(frozen=True)
class RelativeBias:
    """What is added to a product of query and key for how far apart they stand (T5)."""

    #: `(heads, past + 1 + future)`, by the key's position less the query's, from `-past` on.
    table: Tensor
    #: Keys further back than this have the bias of this; those further ahead the last one.
    past: int


@dataclass(frozen=True)
class NormedAttention:
    """Attention and the norm that goes with it."""

    norm: Norm
    attention: Attention


@dataclass(frozen=True)
class Layer:
    """Attention of tokens to one another, of a decoder's to the encoder's, and the rest."""

    own: NormedAttention
    feed_forward_norm: Norm
    feed_forward: FeedForward
    #: None in an encoder.
    cross: NormedAttention | None = None


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder."""

    layers: list[Layer]
    heads: int
    head_dim: int
    #: `(window, H)` learned positions, added to the embeddings.
    positions: Tensor | None = None
    #: The same in every layer of the stack.
    bias: RelativeBias | None = None
    embedding_norm: Norm | None = None
    #: Where there is one, the layers' norms stand in the branches, before their parts (T5);
    #: without, after each sum (BART).
    final_norm: Norm | None = None


@dataclass(frozen=True)
class EncoderDecoder:
    """A model that reads a text whole and writes another."""

    #: `(V, H)`, of both stacks.
    embedding: Tensor
    #: Multiplies what is looked up in it.
    embedding_scale: float
    encoder: Stack
    decoder: Stack
    #: `(V, H)`; the embedding itself where they are tied.
    head: Linear

    @property
    def tied(self) -> bool:
        """Whether embedding and head are one matrix."""
        return self.head.weight.data_ptr() == self.embedding.data_ptr()
