"""Products of bfloat16 while text is written and measured: how far off, and that they end."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from escalade.export.products import multiplies_short, short_products
from escalade.export.quantization import CURVATURE, gather_curvatures, hessian_of

# Of a number in bfloat16, which keeps 8 bits; what layers lose adds up.
_STEP = 2.0**-8


def models() -> Iterator[PreTrainedModel]:
    torch.manual_seed(0)
    yield LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        )
    )
    yield GPT2LMHeadModel(
        GPT2Config(vocab_size=256, n_positions=64, n_embd=64, n_layer=2, n_head=4)
    )


@pytest.fixture(params=models(), ids=lambda model: model.config.model_type)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    made: PreTrainedModel = deepcopy(request.param).eval()
    return made


@pytest.fixture
def texts() -> Tensor:
    return torch.randint(256, (16, 64), generator=torch.Generator().manual_seed(1))


def off(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def stop_within(model: PreTrainedModel) -> None:
    with short_products(model, short=True):
        assert {one.dtype for one in model.parameters()} == {torch.bfloat16, torch.float32}
        raise RuntimeError("stop")


def test_what_is_said_is_off_by_what_a_number_loses(model: PreTrainedModel, texts: Tensor) -> None:
    with torch.inference_mode():
        exact = model(texts).logits
        with short_products(model, short=True):
            found = model(texts).logits
    assert found.dtype == torch.float32
    assert 0 < off(found, exact) < 4 * _STEP


def test_what_was_measured_is_what_float32_measures(model: PreTrainedModel, texts: Tensor) -> None:
    other = deepcopy(model)
    gather_curvatures(other, texts.tolist())
    with short_products(model, short=True):
        gather_curvatures(model, texts.tolist())
    watched = [name for name, one in other.named_modules() if hessian_of(one) is not None]
    assert "lm_head" in watched
    for name in watched:
        mine, exact = model.get_submodule(name), other.get_submodule(name)
        hessians = [hessian_of(one) for one in (mine, exact)]
        assert off(*(one.whole() for one in hessians if one is not None)) < 8 * _STEP, name
        # Of gradients, squared; now and then another token is drawn.
        assert off(getattr(mine, CURVATURE), getattr(exact, CURVATURE)) < 16 * _STEP, name


def test_then_all_is_as_it_was(model: PreTrainedModel, texts: Tensor) -> None:
    before = dict(model.named_parameters(remove_duplicate=False))
    with torch.inference_mode():
        exact = model(texts).logits
    with pytest.raises(RuntimeError, match="stop"):
        stop_within(model)
    after = dict(model.named_parameters(remove_duplicate=False))
    assert after.keys() == before.keys()
    assert all(after[name] is one for name, one in before.items())
    with torch.inference_mode():
        assert torch.equal(model(texts).logits, exact)


def test_small_models_are_left_alone(model: PreTrainedModel, texts: Tensor) -> None:
    assert not multiplies_short(model)
    with torch.inference_mode():
        exact = model(texts).logits
        with short_products(model):
            assert torch.equal(model(texts).logits, exact)
