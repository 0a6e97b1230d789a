"""Other families than the bundled one: tiny random models, exported and held against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from escalade.edge.generation.artifact import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data.tokenizer import build_tokenizer, save_tokenizer

LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 48,
}
GROUPED = {**LLAMA_LIKE, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 16},
    "smollm3": GROUPED,
    "gpt_neox": LLAMA_LIKE,
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 48},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_exports_with_torchs_tokens(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=build_tokenizer().get_vocab_size(),
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
        tie_word_embeddings=True,
        **FAMILIES[family],
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(6)
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    prompts = ["g2p: cascade", "p2g: K AE T"]
    exact = export_artifact(tmp_path / "model", tmp_path / "float", golden_prompts=prompts)
    assert exact.parity.same_tokens == 2
    assert exact.parity.max_abs_delta_nll < 1e-4
    rounded = export_artifact(
        tmp_path / "model", tmp_path / "int8", quantize="int8", golden_prompts=prompts
    )
    assert rounded.parity.mean_abs_delta_nll < 0.1
    sizes = {
        name: sum(path.stat().st_size for path in (tmp_path / name).glob("model.onnx*"))
        for name in ("float", "int8")
    }
    assert sizes["int8"] < 0.5 * sizes["float"]
    assert Artifact.open(tmp_path / "int8").generate([5, 6, 7])
