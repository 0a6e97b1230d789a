"""Folders of sentence-transformers: what is read as a mean of tokens, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from classifiers import LABELS, encoder_folder, labelled
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from transformers import AutoTokenizer

from escalade.checkpoint import CheckpointError, is_classifier, load_classifier

HEAD = Path("2_Dense")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("sentences") / "model", mean=True)


def test_what_sentence_transformers_saves_is_read(folder: Path, tmp_path: Path) -> None:
    theirs = SentenceTransformer(str(folder))
    theirs.max_seq_length = 24
    assert isinstance(theirs[2], Dense)
    theirs.save_pretrained(str(tmp_path / "again"))
    ours, tokenizer = load_classifier(tmp_path / "again"), AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        labelled(20).texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = ours(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    wanted = theirs.encode(labelled(20).texts, convert_to_tensor=True)
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0.0)
    assert list(ours.config.id2label.values()) == LABELS


def test_without_a_head_it_is_told_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(folder, tmp_path / "plain"))
    _edit(plain / "modules.json", lambda modules: modules.pop())
    assert is_classifier(folder)
    assert is_classifier(plain)
    with pytest.raises(CheckpointError, match="one Dense, for the classes, got none"):
        load_classifier(plain)
    _edit(plain / "config.json", lambda config: config.update(architectures=["BertForCausalLM"]))
    assert not is_classifier(plain)


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def _module(index: int, **changed: str) -> Callable[[Path], None]:
    return lambda folder: _edit(folder / "modules.json", lambda m: m[index].update(changed))


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        weights = load_file(folder / HEAD / "model.safetensors")
        change(weights)
        save_file(weights, folder / HEAD / "model.safetensors")

    return changed


def _pooling(**modes: object) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        (folder / "1_Pooling/config.json").write_text(json.dumps(modes))

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_module(2, type="os.system"), "must be of sentence-transformers"),
        (_module(2, path="../2_Dense"), "and in the folder, got"),
        (_module(2, path="/etc"), "and in the folder, got"),
        (_module(1, type="sentence_transformers.models.Normalize"), "must begin with Transformer"),
        (_module(0, path="0_Transformer"), "in the folder itself"),
        (lambda f: (f / "modules.json").write_text("{}"), "must begin with Transformer"),
        (lambda f: (f / "modules.json").write_text("[1]"), "modules.json: cannot be read"),
        (lambda f: (f / "modules.json").write_text("[" * 99999), "modules.json: cannot be read"),
        (_pooling(pooling_mode_cls_token=True), "the mean of tokens, got pooling_mode_cls_token"),
        (
            _pooling(pooling_mode_cls_token=True, pooling_mode_mean_tokens=True),
            "the mean of tokens, got pooling_mode_cls_token, pooling_mode_mean_tokens",
        ),
        (_pooling(pooling_mode=["mean", "max"]), "the mean of tokens, got .*max"),
        (_pooling(), "the mean of tokens, got None"),
        (
            lambda f: _edit(
                f / HEAD / "config.json", lambda c: c.update(activation_function="torch.nn.Tanh")
            ),
            "activation_function must be .*Identity, got torch.nn.Tanh",
        ),
        (
            lambda f: _edit(f / HEAD / "config.json", lambda c: c.update(use_residual=True)),
            "use_residual must be false",
        ),
        (_weights(lambda w: w.pop("linear.bias")), "Missing key"),
        (_weights(lambda w: w.update({"linear.bias": torch.zeros(4)})), "size mismatch"),
        (_weights(lambda w: w["linear.bias"].fill_(float("nan"))), "must be finite"),
        (lambda f: (f / HEAD / "model.safetensors").write_bytes(b"x" * 99), "model.safetensors: "),
        (lambda f: (f / HEAD / "model.safetensors").unlink(), "model.safetensors: "),
        (lambda f: _edit(f / "config.json", lambda c: c.update(vocab_size=9)), "another shape"),
    ],
)
def test_what_is_not_that_is_named(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], says: str
) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "model"))
    change(copied)
    with pytest.raises(CheckpointError, match=says) as error:
        load_classifier(copied)
    assert "\n" not in str(error.value)
