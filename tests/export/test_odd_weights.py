"""Weights that no training gives go through a whole export: zeros, outliers, one value, subnormals.

NaN and infinity are refused (test_artifact.py).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import NEAREST, RoundingText

WORDS = ("cat", "banana", "zebra", "dog", "window", "letter", "house", "river")
PROMPTS = [f"g2p: {word}" for word in WORDS]
BY_PROMPTS = RoundingText(PROMPTS)
_TOKEN = 5  # a letter that is in no prompt here


@pytest.fixture(scope="module")
def odd_model(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedding and head are one matrix."""
    model = Path(shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("odd") / "model"))
    weights = load_file(model / "model.safetensors")
    assert "lm_head.weight" not in weights
    first, second = "model.layers.0.", "model.layers.1."
    weights[f"{first}self_attn.q_proj.weight"].zero_()
    weights[f"{first}self_attn.k_proj.weight"][1, 2] = 1e4
    weights[f"{first}self_attn.v_proj.weight"].fill_(0.5)
    weights[f"{first}self_attn.o_proj.weight"].fill_(1e-40)
    weights[f"{first}mlp.down_proj.weight"].zero_()
    weights[f"{second}mlp.up_proj.weight"][5, 3] = -1e4
    weights[f"{second}mlp.gate_proj.weight"].fill_(-0.25)
    weights[f"{second}mlp.down_proj.weight"].mul_(1e-41)
    # A token that is never used, one that is far from all others, and columns that are fed nothing.
    weights["model.embed_tokens.weight"][_TOKEN].zero_()
    weights["model.embed_tokens.weight"][_TOKEN + 1, 9] = 1e4
    weights[f"{second}input_layernorm.weight"][::2] = 0.0
    weights["model.norm.weight"][3] = 0.0
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "int4", "rounded_by": NEAREST},
        pytest.param({"quantize": "int4", "rounded_by": BY_PROMPTS}, marks=pytest.mark.slow),
        {"quantize": "int8"},
        pytest.param({"quantize": "int8", "rounded_by": BY_PROMPTS}, marks=pytest.mark.slow),
        pytest.param({"quantize": "int4"}, marks=pytest.mark.slow),
        pytest.param({"quantize": "int4", "bits": 8.5}, marks=pytest.mark.slow),
        {"quantize": "int4", "bits": 8.5, "rounded_by": BY_PROMPTS},
    ],
)
def test_odd_weights_are_exported_and_answer(
    options: dict[str, object], odd_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    manifest = export_artifact(
        odd_model, out, golden_prompts=PROMPTS[:2], max_new_tokens=4,
        **options,  # type: ignore[arg-type]
    )  # fmt: skip
    assert manifest.parity.max_abs_delta_nll < 0.5
    artifact = Artifact.open(out)
    steps = list(artifact.generate(artifact.encode(PROMPTS[2]), max_new_tokens=4))
    assert steps
    assert all(step.logprob <= 0 for step in steps)
    assert list(tmp_path.iterdir()) == [out]
