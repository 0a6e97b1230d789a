"""Models that ExecuTorch cannot run as torch does: refused in one line, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_families import tiny_model
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from escalade.export.errors import ModelError, OptionError
from escalade.export.quiet import quiet

SINKS = {
    "head_dim": 16,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "sliding_window": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [3.0] * 8,
    "short_factor": [1.0] * 8,
    "original_max_position_embeddings": 20,
}
CHUNKED = {
    "head_dim": 16,
    "num_local_experts": 2,
    "intermediate_size_mlp": 64,
    "attention_chunk_size": 16,
}


@pytest.fixture(scope="module")
def export_executorch() -> Callable[..., object]:
    with quiet():  # ExecuTorch's own imports warn of what Python has deprecated
        from escalade.export.executorch.program import export_executorch
    return export_executorch


def test_what_is_no_plain_decoder_is_refused(
    export_executorch: Callable[..., object], tmp_path: Path
) -> None:
    t5 = AutoModelForSeq2SeqLM.from_config(
        AutoConfig.for_model("t5", d_model=32, d_ff=32, num_layers=1, num_heads=2, vocab_size=40)
    ).eval()
    refused = {
        "an encoder-decoder": t5,
        "over the last 16 tokens, the window is 48.*; --format onnx takes it": tiny_model(
            "mistral", sliding_window=16
        ),
        # Keys that were rotated one way stay in the cache when the other begins.
        "at least the window, 48; got 'longrope' with 20": tiny_model(
            "phi3", rope_parameters=LONG, original_max_position_embeddings=20
        ),
        # Its pieces do not see each other, which shows after the 16th token alone.
        "llama4_text: gives other logits": tiny_model("llama4_text", **CHUNKED),
        "caps its products at 50.0": tiny_model("gemma2", head_dim=16, sliding_window=64),
        "0 of 2 layers attend": tiny_model("mamba", state_size=4),
        "gives other logits": tiny_model("gpt_oss", **SINKS),
    }
    for words, model in refused.items():
        with pytest.raises(ModelError, match=words):
            export_executorch(model, tmp_path, window=48, scheme="none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_executorch_cannot_express_is_one_line(
    export_executorch: Callable[..., object], tmp_path: Path
) -> None:
    mixture = tiny_model("mixtral", num_local_experts=2, num_hidden_layers=1)
    says = "mixtral: ExecuTorch cannot express it: .*grouped_mm"
    with quiet(), pytest.raises(ModelError, match=says):
        export_executorch(mixture, tmp_path, window=48, scheme="none")
    assert list(tmp_path.iterdir()) == []


def test_8da4w_names_the_layer_that_does_not_divide(
    export_executorch: Callable[..., object], tmp_path: Path
) -> None:
    model = tiny_model("llama", intermediate_size=80)
    with pytest.raises(OptionError, match=r"model\.layers\.0\.mlp\.down_proj has 80 inputs"):
        export_executorch(model, tmp_path, window=48, scheme="8da4w")
    with pytest.raises(OptionError, match="must be none or 8da4w, got int4"):
        export_executorch(model, tmp_path, window=48, scheme="int4")
    assert list(tmp_path.iterdir()) == []
