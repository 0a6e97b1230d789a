"""Turns a torch causal LM into an ExecuTorch program that scores itself; knows no artifact.

The keys and values live in a static cache inside the program (transformers'
`TorchExportableModuleWithStaticCache`), lowered to XNNPACK where it has the operator. The
method `forward(input_ids (1, T), cache_position (T,))` gives the greedy next token (1, 1)
and its log-probability (1, 1); T runs from 1 to the window, so it serves prompt and decode.
A query that starts at position 0 overwrites what the last one left.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel
from transformers.integrations.executorch import TorchExportableModuleWithStaticCache

PROGRAM_NAME = "model.pte"


class _SelfScoring(nn.Module):
    """A model with a static cache and a greedy head that gives its own log-probability."""

    def __init__(self, model: PreTrainedModel, window: int) -> None:
        super().__init__()
        self.core = TorchExportableModuleWithStaticCache(
            model, batch_size=1, max_cache_len=window, device=torch.device("cpu")
        )

    def forward(self, input_ids: Tensor, cache_position: Tensor) -> tuple[Tensor, Tensor]:
        # torch.export swaps a module's buffers for traced ones, but cannot see the cache's own
        # references to them: without this, writes to the cache go to constants and are lost.
        for index, layer in enumerate(self.core.static_cache.layers):
            for kind, attribute in (
                ("key_cache", "keys"),
                ("value_cache", "values"),
                ("cumulative_length", "cumulative_length"),
            ):
                setattr(layer, attribute, getattr(self.core, f"{kind}_{index}"))
        logits = self.core(input_ids=input_ids, cache_position=cache_position)[:, -1:]
        token = logits.argmax(dim=-1)
        logprob = logits.amax(dim=-1) - torch.logsumexp(logits, dim=-1)
        return token, logprob


def export_executorch(model: PreTrainedModel, out: Path, *, window: int) -> str:
    """Write `model.pte` into `out`; returns what was done to the weights.

    Args:
        model: a causal LM in float32, in eval mode, on the CPU.
        out: an existing folder.
        window: length of the static cache, in tokens.
    """
    model = copy.deepcopy(model)  # the cache setting below is this export's alone
    model.generation_config = GenerationConfig(use_cache=True, cache_implementation="static")
    module = _SelfScoring(model, window).eval().requires_grad_(False)
    sample = torch.arange(4, dtype=torch.int64)
    new_tokens = torch.export.Dim("new_tokens", min=1, max=window - 1)
    with torch.no_grad():
        program = torch.export.export(
            module,
            (sample[None] + 4, sample),
            dynamic_shapes=({1: new_tokens}, {0: new_tokens}),
            strict=False,
        )
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    executable = lowered.to_executorch()
    with (out / PROGRAM_NAME).open("wb") as stream:
        executable.write_to_file(stream)
    return "float32 weights, XNNPACK"
