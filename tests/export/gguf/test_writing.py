"""A Llama as a GGUF file: torch's tokens and scores in float32; other models are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import ModelError, OptionError
from escalade.export.text import RoundingText

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here; make test-gguf")

BUNDLED = Path(__file__).parents[3] / "training" / "checkpoints" / "small-cat-xent"
PROMPTS = ("g2p: cascade", "p2g: S IH M Y AH L EY T ER", "stress: banana", "syllables: o'neil")
# Float32 sums in another order.
NEAR = 1e-5


def test_the_bundled_model_answers_as_torch_does(tmp_path: Path) -> None:
    manifest = export_artifact(BUNDLED, tmp_path / "out", format="gguf", golden_prompts=PROMPTS)
    assert manifest.parity.same_tokens == manifest.parity.prompts == len(PROMPTS)
    assert manifest.parity.max_abs_delta_nll < NEAR
    # Words, which llama.cpp has no way to read.
    assert "without a tokenizer" in manifest.quantization.detail


def test_a_tokenizer_of_bytes_goes_into_the_file(bytes_model_dir: Path, tmp_path: Path) -> None:
    manifest = export_artifact(bytes_model_dir, tmp_path / "out", format="gguf")
    assert manifest.parity.max_abs_delta_nll < NEAR
    assert "without a tokenizer" not in manifest.quantization.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "qwen2"}, "model type must be llama, got 'qwen2'"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
            "rope_parameters.rope_type must be 'default', got 'linear'",
        ),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu', got 'gelu'"),
    ],
)
def test_other_models_are_refused_by_name(
    changes: dict[str, object], said: str, bytes_model_dir: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bytes_model_dir, tmp_path / "model")
    config = json.loads((copy / "config.json").read_text())
    if "model_type" in changes:
        from transformers import AutoConfig, AutoModelForCausalLM

        kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                "num_attention_heads", "num_key_value_heads", "max_position_embeddings",
                "eos_token_id")  # fmt: skip
        other = AutoConfig.for_model(changes["model_type"], **{name: config[name] for name in kept})
        AutoModelForCausalLM.from_config(other).save_pretrained(copy)
    else:
        (copy / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelError, match=said):
        export_artifact(copy, tmp_path / "out", format="gguf")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("bits", 5.0), ("head_bits", 4), ("activation_bits", 32), ("rounded_by", RoundingText(["a"]))],
)
def test_options_of_our_own_rounding_are_refused(
    option: str, value: object, bytes_model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="not for --format gguf"):
        export_artifact(
            bytes_model_dir, tmp_path / "out", format="gguf", quantize="int4", **{option: value}
        )
