"""Rounds a torch causal LM's weights with torchao for ExecuTorch; knows no file, no attention.

The scheme `8da4w`: weights of linear layers in 4 bits with a scale for each group along the
input axis, activations rounded to 8 bits for each token at run time, which is what XNNPACK
multiplies; the embedding in 4 or 8 bits with a scale for each row.
"""

from __future__ import annotations

from typing import Literal

import executorch.kernels.quantized  # noqa: F401 - registers the operators of rounded embeddings
import torch
from torch import nn
from torchao.quantization import (
    Int8DynamicActivationIntxWeightConfig,
    IntxWeightOnlyConfig,
    quantize_,
)
from torchao.quantization.granularity import PerAxis, PerGroup
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.export.errors import OptionError

#: Of linear layers: the group that ExecuTorch's own recipes for 8da4w use.
GROUP_SIZE = 32
EmbeddingBits = Literal[4, 8]
_TORCH_BITS = {4: torch.int4, 8: torch.int8}  # type: ignore[attr-defined]


def quantize_8da4w(model: PreTrainedModel, *, embedding_bits: EmbeddingBits) -> str:
    """Round the weights in place; returns what was done to them.

    Args:
        model: in float32, its layers `nn.Linear` (see `plain_linears`).
        embedding_bits: of the input embedding. A head that shares its weights gets a copy in 4
            bits: XNNPACK multiplies what the embedding's operator cannot look up.

    Raises:
        OptionError: a layer's width does not divide into groups.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer.in_features % GROUP_SIZE:
            raise OptionError(
                f"--quantize 8da4w: {name} has {layer.in_features} inputs, which must be a"
                f" multiple of {GROUP_SIZE}; use --quantize none"
            )
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(embedding, nn.Embedding) and isinstance(head, nn.Linear)  # noqa: S101, PT018
    if embedding.embedding_dim % 2:
        raise OptionError(
            f"--quantize 8da4w: the embedding has {embedding.embedding_dim} values a row, which"
            " must be even; use --quantize none"
        )
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(embedding.weight.detach().clone())
    embedding.padding_idx = None  # for training alone; ExecuTorch's operator does not take it
    # Scales from each group's extremes, torchao's default; HQQ's (`hqq_scale_only`), which
    # ExecuTorch's recipes take, came no nearer to torch on the bundled small model.
    linears = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=_TORCH_BITS[4], weight_granularity=PerGroup(GROUP_SIZE)
    )
    rows = IntxWeightOnlyConfig(weight_dtype=_TORCH_BITS[embedding_bits], granularity=PerAxis(0))
    quantize_(model, linears, filter_fn=lambda layer, _: isinstance(layer, nn.Linear))
    quantize_(model, rows, filter_fn=lambda layer, _: layer is embedding)
    return (
        f"linear layers 4-bit weights, groups of {GROUP_SIZE} along the input axis, activations"
        f" 8-bit by token; embedding {embedding_bits}-bit by row; cache float32"
    )


def plain_linears(model: PreTrainedModel) -> None:
    """Replace GPT-2's `Conv1D`, a linear layer with its weight transposed, by `nn.Linear`."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Conv1D):
                inputs, outputs = layer.weight.shape
                linear = nn.Linear(inputs, outputs, device="meta")
                linear.weight = nn.Parameter(layer.weight.detach().t().contiguous())
                linear.bias = layer.bias
                setattr(parent, name, linear)
