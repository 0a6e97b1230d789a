"""Puts a torch causal LM's keys and values into buffers of its own; knows no file, no weights.

Each attention of the model gets a `KvBuffer` and writes to and attends over it with
ExecuTorch's own operators for language models, `llama::update_cache` and
`llama::custom_sdpa`. Going back in the text is free: attention looks at positions up to the
query's alone, and what lies beyond is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401 - registers the operators
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from escalade.edge.base import listed
from escalade.export.errors import ModelError

_FINDING, _REFERENCE, _BUFFERED = "escalade_finding", "escalade_reference", "escalade_buffered"
_ATTRIBUTE = "kv_buffer"
_REFUSAL = "--format executorch takes decoders with plain causal attention alone"
#: Fewest tokens a model is tried with, in two pieces: the second attends over what the first has
#: left. It is tried with a whole window, for what may change with the length of a text.
PROBE_TOKENS = 7
_PROBE_SPLIT = 4
# float32 against another order of summation; attention that is not plain is off by far more.
_PROBE_TOLERANCE = 1e-3


class KvBuffer(nn.Module):
    """Keys and values of one layer for a whole window, each `(1, window, heads, head_dim)`."""

    keys: Tensor
    values: Tensor

    def __init__(self, window: int, heads: int, head_dim: int) -> None:
        super().__init__()
        shape = (1, window, heads, head_dim)
        self.register_buffer("keys", torch.zeros(shape), persistent=False)
        self.register_buffer("values", torch.zeros(shape), persistent=False)
        #: Position of the first new token; set before each pass.
        self.start = 0


class BufferedModel(nn.Module):
    """A causal LM that remembers: tokens in, logits of the last one out."""

    def __init__(self, model: PreTrainedModel, window: int) -> None:
        """Give every attention its buffer.

        Args:
            model: in float32, in eval mode, on the CPU; changed in place.
            window: longest prompt plus response.

        Raises:
            ModelError: the model's attention is not plain causal attention over a window.
        """
        super().__init__()
        self.model = model
        self.window = window
        config = model.config.get_text_config()
        tokens = torch.arange(window)[None] % config.vocab_size
        with torch.no_grad():
            expected = model(tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
            found = self._install(tokens)
        # Weights that are no numbers give logits that are none: to be seen, not refused here.
        scale = max(float(expected.abs().max()), 1.0)
        if float((found - expected).abs().max()) > _PROBE_TOLERANCE * scale:
            raise ModelError(
                f"{config.model_type}: gives other logits with its keys and values in buffers:"
                f" {_REFUSAL}"
            )

    def forward(self, tokens: Tensor, input_pos: Tensor) -> Tensor:
        """Run new tokens on top of those before `input_pos`.

        Args:
            tokens: `(1, T)`, int64, T >= 1.
            input_pos: `(1,)`, int64, position of the first; `input_pos + T <= window`.

        Returns:
            `(1, V)`, the logits after the last token.
        """
        start = cast(int, input_pos[0].item())  # a symbol, under torch.export
        count = tokens.shape[1]
        torch._check(start >= 0)  # torch.export's way to be told bounds
        torch._check(start + count <= self.window)
        for buffer in self._buffers_of_layers():
            buffer.start = start
        positions = torch.arange(count)[None] + input_pos
        output = self.model(tokens, position_ids=positions, use_cache=False, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _install(self, tokens: Tensor) -> Tensor:
        """Give a buffer to each module that attends; returns the last logits, as torch has them."""
        config = self.model.config.get_text_config()
        attending: list[nn.Module] = []

        def find(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            mask: Tensor | None,
            sliding_window: int | None = None,
            softcap: float | None = None,
            **options: object,
        ) -> tuple[Tensor, None]:
            if sliding_window is not None and sliding_window < self.window:
                raise ModelError(
                    f"{config.model_type}: attends over the last {sliding_window} tokens, the"
                    f" window is {self.window}: {_REFUSAL}"
                )
            if softcap is not None:
                raise ModelError(f"{config.model_type}: caps its products at {softcap}: {_REFUSAL}")
            if key.shape != value.shape:
                raise ModelError(
                    f"{config.model_type}: keys have shape {listed(key.shape)}, values"
                    f" {listed(value.shape)}: {_REFUSAL}"
                )
            module.add_module(_ATTRIBUTE, KvBuffer(self.window, key.shape[1], key.shape[3]))
            attending.append(module)
            return query.transpose(1, 2), None

        AttentionInterface.register(_FINDING, find)
        AttentionInterface.register(_REFERENCE, _attend_in_torch)
        AttentionInterface.register(_BUFFERED, _attend)
        self.model.set_attn_implementation(_FINDING)
        self.model(tokens[:, :PROBE_TOKENS], use_cache=False, logits_to_keep=1)
        if len(attending) != config.num_hidden_layers:
            raise ModelError(
                f"{config.model_type}: {len(attending)} of {config.num_hidden_layers} layers attend"
                f" through transformers' AttentionInterface: {_REFUSAL}"
            )
        self.model.set_attn_implementation(_REFERENCE)
        self(tokens[:, :_PROBE_SPLIT], torch.tensor([0]))
        logits: Tensor = self(tokens[:, _PROBE_SPLIT:], torch.tensor([_PROBE_SPLIT]))
        self.model.set_attn_implementation(_BUFFERED)
        for buffer in self._buffers_of_layers():
            buffer.keys.zero_()
            buffer.values.zero_()
        return logits

    def _buffers_of_layers(self) -> Iterator[KvBuffer]:
        return (module for module in self.model.modules() if isinstance(module, KvBuffer))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """As transformers' `AttentionInterface` wants it.

    Args:
        module: the attention, with a `KvBuffer`.
        query: `(1, heads, T, head_dim)`.
        key: `(1, kv_heads, T, head_dim)`.
        value: as `key`.
        mask: unused: the operator is causal from the first new token's position on.
        scaling: of the products; None is `head_dim ** -0.5`.
        options: what else a model hands on; `BufferedModel` has checked that none matters.

    Returns:
        `(1, T, heads, head_dim)`, and no weights.
    """
    buffer = _buffer_of(module)
    operators = torch.ops.llama
    operators.update_cache(key.transpose(1, 2).contiguous(), buffer.keys, buffer.start)
    operators.update_cache(value.transpose(1, 2).contiguous(), buffer.values, buffer.start)
    attended: Tensor = operators.custom_sdpa(
        query.transpose(1, 2).contiguous(),
        buffer.keys,
        buffer.values,
        buffer.start,
        None,  # no mask
        0.0,  # dropout
        True,  # causal
        scaling,
    )
    return attended, None


def _attend_in_torch(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """The same in torch's own operators: what `_attend` is taken to compute."""
    buffer = _buffer_of(module)
    end = buffer.start + query.shape[2]
    buffer.keys[:, buffer.start : end] = key.transpose(1, 2)
    buffer.values[:, buffer.start : end] = value.transpose(1, 2)
    attended = scaled_dot_product_attention(
        query,
        buffer.keys[:, :end].transpose(1, 2),
        buffer.values[:, :end].transpose(1, 2),
        attn_mask=torch.ones(end, end, dtype=torch.bool).tril()[buffer.start :],
        scale=scaling,
        enable_gqa=True,
    )
    return attended.transpose(1, 2), None


def _buffer_of(module: nn.Module) -> KvBuffer:
    buffer = module.get_submodule(_ATTRIBUTE)
    assert isinstance(buffer, KvBuffer)  # noqa: S101 - set by BufferedModel
    return buffer
