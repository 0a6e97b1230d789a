"""Layers whose weights are laid out give what they gave, but for the last bits."""

from __future__ import annotations

import copy
import platform
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from escalade.cloud.backends.embedded.packing import FusedNorm, PackedLinear, SharedLinear, pack

packs = pytest.mark.skipif(platform.machine() != "x86_64", reason="is done on x86 alone")


@packs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 16, 300])
def test_a_model_says_what_it_said(tiny_model_dir: Path, dtype: torch.dtype, rows: int) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=dtype).eval()
    packed = copy.deepcopy(network)
    pack(packed)
    kinds = [type(layer) for layer in packed.modules()]
    assert {PackedLinear, SharedLinear, FusedNorm} <= {*kinds}
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


class _Attention(nn.Module):
    """Three layers as the library names those that it asks one after the other."""

    def __init__(self, biases: tuple[bool, bool, bool]) -> None:
        super().__init__()
        self.q_proj = nn.Linear(8, 12, bias=biases[0])
        self.k_proj = nn.Linear(8, 4, bias=biases[1])
        self.v_proj = nn.Linear(8, 4, bias=biases[2])


@packs
@pytest.mark.parametrize("biases", [(False,) * 3, (True,) * 3, (True, False, True)])
def test_layers_of_the_same_inputs_give_each_its_own(biases: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(1)
    module = _Attention(biases).requires_grad_(requires_grad=False)
    packed = copy.deepcopy(module)
    pack(packed)
    kind = SharedLinear if len(set(biases)) == 1 else PackedLinear
    assert {type(layer) for layer in packed.children()} == {kind}
    first, second = torch.randn(2, 3, 8), torch.randn(1, 5, 8)
    # In the library's order, and in none; for the same inputs, and for others in between.
    asked = [("q_proj", first), ("k_proj", first), ("v_proj", first), ("v_proj", first)]
    asked += [("q_proj", first), ("k_proj", second), ("v_proj", first), ("k_proj", second)]
    for name, inputs in asked:
        said, expected = getattr(packed, name)(inputs), getattr(module, name)(inputs)
        assert torch.allclose(said, expected, atol=1e-6), name


def test_a_norm_is_one_operation_where_that_gives_the_same() -> None:
    weight = torch.rand(48, generator=torch.Generator().manual_seed(2))
    theirs = nn.ModuleList([LlamaRMSNorm(48), GemmaRMSNorm(48)]).requires_grad_(requires_grad=False)
    for norm in theirs:
        norm.weight.copy_(weight)
    ours = copy.deepcopy(theirs)
    pack(ours)
    if platform.machine() == "x86_64":
        assert [type(norm) for norm in ours] == [FusedNorm, GemmaRMSNorm]
    inputs = torch.randn(4, 7, 48)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one(inputs), other(inputs))
