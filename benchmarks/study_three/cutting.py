"""Cuts a smaller model out of a larger one, to be trained on; knows no data and no loss.

Whole layers are left out (Sajjad et al. 2020, arXiv 2004.03844), and of each that stays the
neurons of its feed-forward part whose three weight vectors have the smallest norms, multiplied
(Ma et al. 2023, arXiv 2305.11627, section 3.2 groups them so; it weighs them by gradients).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from escalade.edge.base import atomic_folder

_NEURONS = {"gate_proj.weight": 0, "up_proj.weight": 0, "down_proj.weight": 1}


def cut_out(source: Path, out: Path, *, layers: Sequence[int], width: int) -> None:
    """Write the model that is left of another, with its tokenizer.

    Args:
        source: a Llama model's folder.
        out: the folder to write.
        layers: which layers stay, by their places.
        width: how many neurons of each feed-forward part stay.
    """
    large = cast(LlamaForCausalLM, AutoModelForCausalLM.from_pretrained(source))
    config = type(large.config)(
        **{**large.config.to_dict(), "num_hidden_layers": len(layers), "intermediate_size": width}
    )
    left = LlamaForCausalLM(config)
    left.model.embed_tokens.load_state_dict(large.model.embed_tokens.state_dict())
    left.model.norm.load_state_dict(large.model.norm.state_dict())
    for place, kept in enumerate(layers):
        layer = large.model.layers[kept]
        weights = layer.mlp.state_dict()
        norms = torch.stack(
            [weights[name].norm(dim=1 - axis) for name, axis in _NEURONS.items()]
        ).prod(dim=0)
        neurons = norms.topk(width).indices.sort().values
        state = layer.state_dict()
        for name, axis in _NEURONS.items():
            state[f"mlp.{name}"] = weights[name].index_select(axis, neurons)
        left.model.layers[place].load_state_dict(state)
    left.generation_config = large.generation_config
    with atomic_folder(out, marker="config.json") as folder:
        left.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)
