"""Weights: all of them, of the class that is loaded, and nothing beside them that is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoint.conftest import LLAMA, Made, change
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from escalade.checkpoint import CheckpointError, load_network


def load(folder: Path) -> object:
    return load_network(folder, dtype=torch.float32)


def refused(folder: Path, says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_beside_the_weights_is_not_passed_over(name: str, made: Made) -> None:
    folder = made()
    (folder / name).write_text("{}")
    refused(folder, f"{name}: an adapter is not taken: merge it")


def test_an_adapter_alone_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    refused(tmp_path, "adapter_config.json: an adapter is not taken")


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.1.mlp.up_proj.weight",
        "score.weight",
    ],
)
def test_weights_that_have_no_place_are_not_dropped(name: str, made: Made) -> None:
    folder = made()
    weights = load_file(folder / "model.safetensors")
    weights[name] = torch.zeros(32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, f"weights that LlamaForCausalLM has no place for: {name}")


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("llama", ["model.layers.0.self_attn.rotary_emb.inv_freq"]),
        ("gpt_neo", ["transformer.h.0.attn.attention.bias", "transformer.h.0.attn.masked_bias"]),
        ("gpt2", ["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"]),
    ],
)
def test_what_old_checkpoints_have_is_known(family: str, names: list[str], made: Made) -> None:
    shape = {"attention_types": [[["global"], 1]], "num_layers": 1, "num_heads": 2}
    folder = made(family, **(shape if family == "gpt_neo" else {}))
    weights = load_file(folder / "model.safetensors")
    weights |= {name: torch.zeros(8) for name in names}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load(folder)


@pytest.mark.parametrize(
    ("auto", "family", "says"),
    [
        (AutoModelForMaskedLM, "bert", "of type bert, got BertForMaskedLM"),
        (AutoModelForSequenceClassification, "qwen2", "got Qwen2ForSequenceClassification"),
        (AutoModelForQuestionAnswering, "llama", "got LlamaForQuestionAnswering"),
    ],
)
def test_models_of_another_class_are_named(
    auto: type[AutoModelForMaskedLM], family: str, says: str, tmp_path: Path
) -> None:
    config = AutoConfig.for_model(family, vocab_size=40, pad_token_id=0, eos_token_id=2, **LLAMA)
    auto.from_config(config).save_pretrained(tmp_path)
    refused(tmp_path, says)


def test_the_class_of_another_family_is_named(made: Made) -> None:
    folder = made("llama")
    change(folder / "config.json", model_type="mistral")
    refused(folder, "causal language model of type mistral, got LlamaForCausalLM")


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_attention_that_looks_ahead_is_refused(family: str, made: Made) -> None:
    folder = made(family)  # its causal class, but not told to be a decoder
    refused(folder, "the model sees tokens that come later")


def test_a_model_that_is_told_to_be_a_decoder_is_one(made: Made) -> None:
    load(made("bert", is_decoder=True))


@pytest.mark.parametrize("how", ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors"])
def test_weights_that_another_library_quantized_are_named(how: str, made: Made) -> None:
    folder = made()
    change(folder / "config.json", quantization_config={"quant_method": how, "bits": 4})
    refused(folder, f"quantization_config: weights quantized by {how} are not taken")


def test_windows_that_attention_does_not_have(made: Made) -> None:
    folder = made("llama")
    change(folder / "config.json", sliding_window=8)  # transformers' cache would obey it
    refused(folder, "sliding_window 8 is not taken: a llama has none")
    change(folder / "config.json", sliding_window=64)
    load(folder)


def test_sliding_layers_without_a_window(made: Made) -> None:
    folder = made("qwen3", head_dim=16)
    change(
        folder / "config.json",
        layer_types=["sliding_attention"],
        sliding_window=None,
        use_sliding_window=True,
    )
    refused(folder, "sliding_window must be at least 1 for layers of sliding_attention, got None")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_act": "zonk"}, "cannot be loaded: nothing is called 'zonk'"),
        ({"vocab_size": 41}, r"weights of another shape: .*embed_tokens.weight"),
        ({"num_attention_heads": 2.0}, "cannot be loaded: .*num_attention_heads.* got float"),
        ({"quantization_config": "fp8"}, "weights quantized by fp8 are not taken"),
        ({"max_position_embeddings": 1}, "max_position_embeddings must be at least 2, got 1"),
        ({"is_encoder_decoder": True}, "encoder-decoder language model of type llama, got Llama"),
        ({"return_dict": False}, "the model does not run: "),
        ({"num_hidden_layers": 0}, "no place for: model.layers.0.* and 5 more"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    settings: dict[str, object], says: str, made: Made
) -> None:
    folder = made()
    change(folder / "config.json", **settings)
    refused(folder, says)


def test_a_model_without_a_cache_of_keys_and_values_is_named(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "mamba", vocab_size=40, hidden_size=16, num_hidden_layers=1, state_size=4, eos_token_id=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    refused(tmp_path, "a mamba is not taken: it must go on from a cache of keys and values")
