"""Low-rank updates of layers that share their weight: what is saved is what was trained."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from escalade.checkpoint import load_network
from escalade.training.errors import RecipeError, SavingError
from escalade.training.examples import Collator
from escalade.training.recipes.adapters import with_lora
from escalade.training.recipes.recipe import LoraTable
from escalade.training.recipes.saving import Batch, logits_of, same_logits, save_checked

V = 40
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(vocab_size=V, intermediate_size=16, tie_word_embeddings=True, **SIZES),
    "gpt2": GPT2Config(vocab_size=V, n_embd=16, n_layer=2, n_head=2, n_positions=32,
                       bos_token_id=1, eos_token_id=1),
    "gpt_neox": GPTNeoXConfig(vocab_size=V, intermediate_size=16, tie_word_embeddings=True,
                              **SIZES),
    "opt": OPTConfig(vocab_size=V, ffn_dim=16, max_position_embeddings=32, word_embed_proj_dim=16,
                     **SIZES),
    "t5": T5Config(vocab_size=V, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
                   decoder_start_token_id=0),
    "bart": BartConfig(vocab_size=V, d_model=16, encoder_layers=1, decoder_layers=1,
                       encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2,
                       decoder_attention_heads=2, max_position_embeddings=32),
}  # fmt: skip


def model(name: str) -> PreTrainedModel:
    torch.manual_seed(3)
    config = copy.deepcopy(CONFIGS[name])
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    made: PreTrainedModel = auto.from_config(config)
    for weight in made.parameters():
        if weight.ndim > 1:
            weight.data.mul_(5)  # random logits of a fresh model are too flat to tell apart
    return made.train(False)


@pytest.fixture(scope="module")
def probe() -> Batch:
    ids = torch.randint(4, V, (3, 9), generator=torch.Generator().manual_seed(0)).tolist()
    return Collator(0)(
        [{"input_ids": row, "labels": row, "example_index": n} for n, row in enumerate(ids)]
    )


def learned(adapted: PreTrainedModel) -> None:
    """Stands for training: every update is something."""
    for name, weight in adapted.named_parameters():
        if weight.requires_grad:
            assert "lora_" in name
            nn.init.normal_(weight, std=0.2)


@pytest.mark.parametrize(
    ("name", "targets", "untied"),
    [
        ("llama", ["q_proj", "v_proj"], False),
        ("llama", "all-linear", False),
        ("llama", ["lm_head"], True),
        ("llama", ["embed_tokens"], True),
        ("llama", ["model.embed_tokens", "lm_head", "q_proj"], True),
        ("llama", r".*(q_proj|lm_head)", True),
        ("llama", r".*(embed_tokens|head)", True),
        ("gpt2", ["wte"], True),
        ("gpt2", ["lm_head", "wpe"], True),
        ("gpt_neox", ["embed_in", "embed_out"], True),
        ("opt", ["lm_head"], True),
        ("t5", ["q", "v"], False),
        ("t5", "all-linear", False),
        ("t5", ["lm_head"], True),
        ("t5", r"(encoder|decoder)\.embed_tokens|.*\.q", False),
        ("bart", r".*(q_proj|fc1)", False),
    ],
)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_what_is_saved_says_what_was_trained(
    name: str, targets: str | list[str], untied: bool, probe: Batch, tmp_path: Path
) -> None:
    plain = model(name)
    before = logits_of(plain, probe)
    adapted = with_lora(plain, LoraTable(r=4, alpha=16, targets=targets), probe)
    if not untied:
        assert torch.equal(logits_of(adapted, probe), before)
    learned(adapted)
    trained = logits_of(adapted, probe)
    assert not same_logits(before, trained)
    merged = cast(PreTrainedModel, adapted.merge_and_unload())  # type: ignore[operator]
    save_checked(merged, tmp_path, probe, expected=trained)
    saved = load_network(tmp_path, dtype=torch.float32)
    assert same_logits(trained, logits_of(saved, probe))
    shared = saved.get_output_embeddings().weight is saved.get_input_embeddings().weight
    assert shared != untied


@pytest.mark.parametrize(
    ("name", "targets", "layer"),
    [
        ("t5", ["shared"], "shared"),
        ("bart", ["shared"], "shared"),
        ("bart", r".*(q_proj|lm_head)", "lm_head"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(
    name: str, targets: str | list[str], layer: str, probe: Batch
) -> None:
    with pytest.raises(RecipeError, match=rf"lora\.targets: '[\w.]*{layer}' shares its weight"):
        with_lora(model(name), LoraTable(r=4, targets=targets), probe)


def test_a_model_that_does_not_come_back_is_not_taken_for_saved(
    probe: Batch, tmp_path: Path
) -> None:
    plain = model("llama")
    plain.get_output_embeddings().register_forward_hook(lambda module, read, said: said * 2)
    with pytest.raises(SavingError, match="a llama does not come back as it was saved"):
        save_checked(plain, tmp_path, probe)
