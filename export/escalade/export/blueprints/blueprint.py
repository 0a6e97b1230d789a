"""What a transformer is made of, without the names its family gives its layers; no ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from escalade.checkpoint import Activation
from escalade.export.quantization import Hessian


@dataclass(frozen=True)
class Linear:
    """`y = x W^T + b`."""

    #: `(N, K)`, as torch has it.
    weight: Tensor
    #: `(N,)`
    bias: Tensor | None = None
    #: GPTQ's H up to a factor: the sum of `x x^T` over inputs; None where none were seen.
    hessian: Hessian | None = None
    #: `(N,)`, what an error of each output costs in KL (see `gather_curvatures`).
    curvature: Tensor | None = None
    #: What it is stacked of, in the order of rows, where these have hessians of their own.
    parts: tuple[Linear, ...] = ()

    def rows(self, picked: Tensor | slice) -> Linear:
        """The layer of some outputs, or of all in another order."""
        return Linear(
            self.weight[picked],
            None if self.bias is None else self.bias[picked],
            self.hessian,
            None if self.curvature is None else self.curvature[picked],
        )


@dataclass(frozen=True)
class Norm:
    """Root-mean-square norm, or layer norm where there is a bias."""

    #: `(H,)`
    weight: Tensor
    epsilon: float
    bias: Tensor | None = None
    #: Whether the mean is taken off: a layer norm.
    centred: bool = False


@dataclass(frozen=True)
class Attention:
    """Grouped-query self-attention; with as many key heads as query heads, the classic one."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    #: Whether positions are rotated into queries and keys.
    rotary: bool
    #: Norms over each head, of queries and of keys (Qwen3).
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    #: How many tokens back a token sees; None sees all.
    sliding_window: int | None = None
    scale: float | None = None


@dataclass(frozen=True)
class FeedForward:
    """`down(act(up(x)))`, or with a gate `down(act(gate(x)) * up(x))`."""

    activation: Activation
    up: Linear
    down: Linear
    gate: Linear | None = None


@dataclass(frozen=True)
class Block:
    """One layer: norms before attention and before the feed-forward network."""

    attention_norm: Norm
    attention: Attention
    feed_forward_norm: Norm
    feed_forward: FeedForward
    #: Both read the layer's input (GPT-NeoX) instead of one after the other.
    parallel: bool = False

    def free_hessians(self) -> None:
        """Give up those of its matrices: they are rounded."""
        attention, fed = self.attention, self.feed_forward
        own = (attention.query, attention.key, attention.value, attention.output)
        for one in (*own, fed.up, fed.down, fed.gate):
            if one is not None and one.hessian is not None:
                one.hessian.free()


@dataclass(frozen=True)
class Decoder:
    """A causal language model."""

    #: `(V, H)`
    embedding: Tensor
    blocks: list[Block]
    final_norm: Norm
    #: `(V, H)`; the embedding itself where they are tied.
    head: Linear
    heads: int
    kv_heads: int
    head_dim: int
    #: `(window, rotary_dim / 2)` each; None without rotary positions.
    cosines: Tensor | None
    sines: Tensor | None
    #: `(window, H)` learned positions (GPT-2).
    positions: Tensor | None = None
    #: `(H,)`, what an error of the embedding's rows costs in KL (see `gather_curvatures`).
    embedding_curvature: Tensor | None = None

    @property
    def tied(self) -> bool:
        """Whether embedding and head are one matrix."""
        return self.head.weight.data_ptr() == self.embedding.data_ptr()
