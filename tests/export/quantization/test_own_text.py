"""Text that a model writes for itself, and what its layers read of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.export.errors import ModelError
from escalade.export.quantization import write_answers, write_text
from escalade.export.quantization.hessian import HESSIAN, Hessian, gather_hessians_of_text
from escalade.export.quantization.own_text import Asked, draw_tokens


@pytest.fixture
def model(tiny_model_dir: Path) -> PreTrainedModel:
    found: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()
    return found


def test_a_seed_gives_the_same_text_and_another_seed_another(model: PreTrainedModel) -> None:
    first, again, other = (write_text(model, window=9, rows=5, seed=seed) for seed in (0, 0, 1))
    assert first.shape == (5, 9)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert bool(((first >= 0) & (first < model.config.vocab_size)).all())


def test_a_text_begins_where_the_model_begins(model: PreTrainedModel) -> None:
    model.config.bos_token_id = 7
    assert set(write_text(model, window=64, rows=3, tokens=2)[:, 0].tolist()) == {7}


def test_tokens_are_drawn_as_likely_as_the_model_thinks_them(model: PreTrainedModel) -> None:
    model.config.bos_token_id = 7
    drawn = write_text(model, window=2, rows=4000)[:, 1]
    shares = torch.bincount(drawn, minlength=model.config.vocab_size) / len(drawn)
    with torch.inference_mode():
        exact = model(torch.tensor([[7]])).logits[0, -1].softmax(-1)
    assert float((shares - exact).abs().sum()) < 0.2


def test_answers_follow_prompts_as_a_tokenizer_closes_them(model: PreTrainedModel) -> None:
    window, asked, ends = 40, Asked([9], [1, 5], [0, 1, 3, 9]), [2]
    answers = write_answers(model, asked, ends, window=window, tokens=600)
    assert sum(len(one.ids) for one in answers) >= 600
    lengths = set()
    for ids, first in answers:
        text = ids.tolist()
        closed = text.index(1)
        assert first == closed + 2
        prompt, answer = text[1:closed], text[closed + 2 :]
        assert (text[0], text[closed + 1]) == (9, 5)
        assert not {0, 1, 2, 3, 9} & set(prompt)
        assert 2 not in answer[:-1]
        assert answer[-1] == 2 or len(text) == window
        lengths.add(len(prompt))
    assert lengths <= set(range(1, window // 4 + 1))
    assert len(lengths) > 1


def test_a_seed_gives_the_same_answers(model: PreTrainedModel) -> None:
    first, again, other = (
        [
            (one.ids.tolist(), one.first)
            for one in write_answers(
                model, Asked([], [1], [0]), [2], window=20, tokens=100, seed=seed
            )
        ]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_model_that_thinks_nothing_likely_is_one_line(model: PreTrainedModel) -> None:
    torch.nn.init.constant_(model.model.norm.weight, torch.inf)
    with pytest.raises(ModelError, match="logits must be finite"):
        write_text(model, window=9)


def test_what_is_not_likely_at_all_is_never_drawn() -> None:
    some = torch.tensor([[0.0, 1e-7, 0.0], [0.0, 0.5, 0.5]]).repeat(500, 1)
    drawn = draw_tokens(some, torch.Generator().manual_seed(0)).view(-1, 2)
    assert set(drawn[:, 0].tolist()) == {1}
    assert set(drawn[:, 1].tolist()) == {1, 2}


def test_a_token_is_where_running_sums_pass_the_number_that_was_drawn() -> None:
    """Of a vocabulary of several stretches, the last of them short."""
    chance = torch.Generator().manual_seed(0)
    likely = torch.randn(64, 3000, generator=chance).mul(3).softmax(-1)
    at = torch.rand(64, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    running = likely.double().cumsum(-1)
    passed = torch.searchsorted(running, at * running[:, -1:], right=True)
    assert torch.equal(draw_tokens(likely, torch.Generator().manual_seed(1)), passed)


@pytest.mark.parametrize("place", [0, 255, 256, 700])
def test_one_token_alone_is_drawn_wherever_it_stands(place: int) -> None:
    alone = torch.zeros(200, 701)
    alone[:, place] = 1e-30
    assert set(draw_tokens(alone, torch.Generator().manual_seed(0)).flatten().tolist()) == {place}


@pytest.mark.parametrize("columns", [1, 192, 200, 500])
def test_half_a_hessian_is_the_whole(columns: int) -> None:
    texts = torch.randn(2, 30, columns, generator=torch.Generator().manual_seed(0)).double()
    found = Hessian(columns)
    found.add(texts[0].float())
    before = found.copy()
    found.add(texts[1].float())
    flat = texts.flatten(0, 1)
    whole = found.whole()
    assert torch.equal(whole, whole.T)
    assert torch.allclose(whole.double(), flat.T @ flat, atol=1e-3)
    assert found.trace() == pytest.approx(float(flat.square().sum()), rel=1e-5)
    assert torch.allclose(before.whole().double(), texts[0].T @ texts[0], atol=1e-3)


def test_hessians_are_sums_of_what_each_layer_is_fed(model: PreTrainedModel) -> None:
    texts = torch.randint(84, (6, 5), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        states = model(texts, output_hidden_states=True).hidden_states
        normed = model.model.layers[1].input_layernorm(states[1]).flatten(0, 1)
    gather_hessians_of_text(model, texts)
    attention = model.model.layers[1].self_attn
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj):
        assert torch.allclose(
            getattr(layer, HESSIAN).whole(), normed.T @ normed, rtol=1e-4, atol=1e-3
        )
    assert getattr(attention.q_proj, HESSIAN) is getattr(attention.v_proj, HESSIAN)
    ends = states[-1].flatten(0, 1)  # after the last norm
    assert torch.allclose(
        getattr(model.lm_head, HESSIAN).whole(), ends.T @ ends, rtol=1e-4, atol=1e-3
    )
