"""Layers whose weights are laid out give what they gave, but for the last bits."""

from __future__ import annotations

import copy
import platform
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from escalade.cloud.backends.embedded.packing import PackedLinear, pack

packs = pytest.mark.skipif(platform.machine() != "x86_64", reason="is done on x86 alone")


@packs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 16, 300])
def test_a_model_says_what_it_said(tiny_model_dir: Path, dtype: torch.dtype, rows: int) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=dtype).eval()
    packed = copy.deepcopy(network)
    pack(packed)
    kinds = [type(layer) for layer in packed.modules()]
    assert PackedLinear in kinds
    assert nn.Linear not in kinds
    ids = torch.randint(0, 20, (rows, 3), generator=torch.Generator().manual_seed(rows))
    with torch.inference_mode():
        said, expected = packed(ids).logits, network(ids).logits
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert torch.allclose(said, expected, atol=tolerance, rtol=tolerance)


@packs
def test_a_bias_is_added_and_a_layer_of_another_kind_stays() -> None:
    torch.manual_seed(0)

    class Another(nn.Linear):
        pass

    layers = nn.Sequential(nn.Linear(8, 5), Another(5, 4), nn.Linear(4, 3, dtype=torch.float64))
    layers.requires_grad_(requires_grad=False)
    packed = copy.deepcopy(layers)
    pack(packed)
    assert [type(layer) for layer in packed] == [PackedLinear, Another, nn.Linear]
    inputs = torch.randn(2, 7, 8)
    assert torch.allclose(packed[0](inputs), layers[0](inputs), atol=1e-6)


def test_weights_elsewhere_stay() -> None:
    layers = nn.Sequential(nn.Linear(8, 5, device="meta"))
    pack(layers)
    assert type(layers[0]) is nn.Linear
