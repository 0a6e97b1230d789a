"""Parity is with transformers' own `generate`, and a program that is another model is refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.edge.artifact import GoldenEntry, ParityEntry, Scheme
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import ExportParityError, ModelError
from escalade.export.held.parity import check_parity, torch_on

PROMPT = [4, 10, 8, 26, 1]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()


def answer(model: PreTrainedModel, longest: int, **settings: object) -> list[int]:
    ids = torch.tensor([PROMPT])
    out = model.generate(ids, max_new_tokens=longest, do_sample=False, **settings)
    return out[0, len(PROMPT) :].tolist()


def test_torchs_own_answer_is_its_choice(model: PreTrainedModel) -> None:
    said = answer(model, 8)
    chosen, nll = torch_on(model, PROMPT, said, ends=[2])
    assert chosen == said
    with torch.inference_mode():
        logits = model(torch.tensor([PROMPT + said])).logits[0, len(PROMPT) - 1 : -1]
    exact = logits.log_softmax(-1).gather(-1, torch.tensor(said)[:, None])
    assert nll == pytest.approx(-float(exact.mean()), abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.7},
        {"suppress_tokens": "first"},
        {"no_repeat_ngram_size": 1},
        {"begin_suppress_tokens": "first"},
    ],
)
def test_what_the_settings_do_counts_whether_we_know_it_or_not(
    settings: dict[str, object], model: PreTrainedModel
) -> None:
    plain = answer(model, 8)
    settings = {k: [plain[0]] if v == "first" else v for k, v in settings.items()}
    other = answer(model, 8, **settings)
    assert other != plain
    own = model.generation_config.to_dict()
    model.generation_config.update(**settings)
    try:
        assert torch_on(model, PROMPT, other, ends=[2])[0] == other
        assert torch_on(model, PROMPT, plain, ends=[2])[0] != plain
    finally:
        model.generation_config.update(**{name: own.get(name) for name in settings})


def test_ends_count_on_both_sides(model: PreTrainedModel) -> None:
    said = answer(model, 8)
    # ours ends where torch would go on
    assert len(torch_on(model, PROMPT, said[:3], ends=[said[2]])[0]) == 4
    # ours goes on where torch would end
    own = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = [2, said[0]]
    try:
        assert torch_on(model, PROMPT, said, ends=[2])[0] == said[:1]
    finally:
        model.generation_config.eos_token_id = own


def entry(nll: float) -> GoldenEntry:
    return GoldenEntry(prompt="x", prompt_ids=[1], token_ids=[2], nll=nll)


@pytest.mark.parametrize("scheme", ["none", "float16", "int8", "int4", "dynamic-int8", "8da4w"])
@pytest.mark.parametrize("nll", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused_for_every_scheme(scheme: Scheme, nll: float) -> None:
    parity = ParityEntry(prompts=1, same_tokens=1, mean_abs_delta_nll=0, max_abs_delta_nll=0)
    with pytest.raises(ExportParityError, match="'x' must be finite, got"):
        check_parity(parity, [entry(nll)], scheme)
    parity = msgspec.structs.replace(parity, max_abs_delta_nll=nll)
    with pytest.raises(ExportParityError, match="must be finite"):
        check_parity(parity, [entry(0.5)], scheme)


def test_floats_have_torchs_nll_and_not_its_tokens_alone() -> None:
    parity = ParityEntry(prompts=1, same_tokens=1, mean_abs_delta_nll=0.1, max_abs_delta_nll=0.1)
    check_parity(parity, [entry(0.5)], "int8")
    with pytest.raises(ExportParityError, match=r"torch's within 0.001, is 0.1 off"):
        check_parity(parity, [entry(0.5)], "none")


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.down_proj.weight", "model.embed_tokens.weight"]
)
def test_a_weight_beyond_float16_is_named_before_anything_is_written(
    name: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    weights[name][7, 5] = -7e4
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"float16: {name} must be within 65504, reaches 7e"):
        export_artifact(folder, tmp_path / "a", quantize="float16", golden_prompts=["g2p: a"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
