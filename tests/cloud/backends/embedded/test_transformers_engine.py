"""What a model folder must hold, and the identity that is read from it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.errors import ModelError
from escalade.v1.identity import tokenizer_fingerprint


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to be spoilt."""
    return shutil.copytree(tiny_model, tmp_path / "copy")


def test_identity_of_a_loaded_model(tiny_model: Path) -> None:
    info = TransformersEngine.load(str(tiny_model), max_new_tokens=5, threads=1).info
    weights = (tiny_model / "model.safetensors").read_bytes()
    assert info.model.revision == hashlib.sha256(weights).hexdigest()
    assert info.model.tokenizer_fingerprint == tokenizer_fingerprint(tiny_model / "tokenizer.json")
    assert info.max_new_tokens == 5


def test_pickled_weights_are_not_loaded(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        TransformersEngine.load(str(model))


def test_missing_weights_are_not_made_up(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights missing: model\.norm\.weight"):
        TransformersEngine.load(str(model))


def test_tokenizer_larger_than_the_model_is_refused(model: Path) -> None:
    path = model / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["one too many"] = 32
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"33 tokens.*only 32"):
        TransformersEngine.load(str(model))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("config.json", "config.json: not JSON"),
        ("generation_config.json", "generation_config.json: not JSON"),
        ("model.safetensors", "cannot be loaded"),
        ("tokenizer.json", "not a tokenizer.json: "),
    ],
)
def test_spoilt_file_is_one_line(model: Path, spoil: str, said: str) -> None:
    (model / spoil).write_bytes(b"{ not what it was")
    with pytest.raises(ModelError, match=said) as failure:
        TransformersEngine.load(str(model))
    assert "\n" not in str(failure.value)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        TransformersEngine.load(str(tmp_path / "none"))


@pytest.mark.parametrize(("option", "value"), [("max_new_tokens", 0), ("threads", 0)])
def test_limits_out_of_range(tiny_model: Path, option: str, value: int) -> None:
    with pytest.raises(ModelError, match=f"{option}: must be at least 1, got 0"):
        TransformersEngine.load(str(tiny_model), **{option: value})
