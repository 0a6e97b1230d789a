"""Settings that change a decoder's mathematics, over long prompts, against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from escalade.edge.generation.artifact import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.held.parity import torch_on
from escalade.training.data.tokenizer import build_tokenizer, save_tokenizer

BASE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
ROPE = {"rope_theta": 10000.0, "factor": 4.0}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "wide heads": ("llama", {"head_dim": 32}),
    "dynamic rope": ("llama", {"rope_parameters": {**ROPE, "rope_type": "dynamic"}}),
    "longrope before its switch": (
        "llama",
        {
            "rope_parameters": {
                **ROPE,
                "rope_type": "longrope",
                "long_factor": [3.0] * 8,
                "short_factor": [1.5] * 8,
                "original_max_position_embeddings": 256,
            }
        },
    ),
    "linear rope": ("llama", {"rope_parameters": {**ROPE, "rope_type": "linear"}}),
    "yarn": (
        "llama",
        {
            "rope_parameters": {
                **ROPE,
                "rope_type": "yarn",
                "original_max_position_embeddings": 64,
                "attention_factor": 1.3,
            }
        },
    ),
    "llama3 rope": (
        "llama",
        {
            "rope_parameters": {
                **ROPE,
                "rope_type": "llama3",
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "sliding window": ("mistral", {"sliding_window": 24}),
    "layers without rope": ("smollm3", {"no_rope_layers": [1, 0, 1], "pad_token_id": 0}),
    "one part after the other": (
        "gpt_neox",
        {"use_parallel_residual": False, "num_key_value_heads": None},
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_long_prompt_scores_as_torch_scores_it(setting: str, tmp_path: Path) -> None:
    family, changed = SETTINGS[setting]
    fields = {name: value for name, value in {**BASE, **changed}.items() if value is not None}
    tokenizer = build_tokenizer()
    config = AutoConfig.for_model(
        family, vocab_size=tokenizer.get_vocab_size(), bos_token_id=None, eos_token_id=2, **fields
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(4)
        else:
            parameter.data.add_(0.1 * torch.randn_like(parameter))  # biases that are not zero
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    export_artifact(tmp_path / "model", tmp_path / "a", golden_prompts=["g2p: a"])
    artifact = Artifact.open(tmp_path / "a")
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randint(4, tokenizer.get_vocab_size(), (150,), generator=generator).tolist()
    steps = artifact.generate(prompt, 40)
    token_ids = [step.token_id for step in steps]
    greedy_ids, nll = torch_on(model, prompt, token_ids, ends=[2])
    assert greedy_ids == token_ids
    assert -sum(step.logprob for step in steps) / len(steps) == pytest.approx(nll, abs=1e-4)
