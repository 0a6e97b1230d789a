"""Encoders that classify as artifacts: transformers' labels and log-probabilities, or a refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifiers import ENCODERS, LABELS, encoder_folder, labelled
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from escalade.checkpoint import is_classifier
from escalade.edge import Artifact
from escalade.edge.artifact import memory_needed, read_manifest
from escalade.export.artifact.classifier import class_logprobs, export_classifier
from escalade.export.errors import ModelError, OptionError

# Short, empty of words, longer than the window, and what spells special tokens.
ODD = ["a", "?!", "lost " * 100, "it was <pad> great <pad><pad>", "[PAD] [SEP] my [CLS]", "é\u200b"]


@pytest.fixture(scope="module", params=ENCODERS)
def model_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("encoders") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has learned its labels."""
    return encoder_folder(tmp_path_factory.mktemp("encoders") / "trained", train=True)


def test_labels_and_log_probabilities_are_transformers(model_dir: Path, tmp_path: Path) -> None:
    manifest = export_classifier(model_dir, tmp_path / "out", golden_texts=[*ODD, "so sorry"])
    assert (manifest.parity.same_tokens, manifest.model.window) == (7, 24)
    artifact = Artifact.open(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForSequenceClassification.from_pretrained(model_dir)
    for text in [*ODD, *labelled(194, seed=4).texts]:
        wanted = class_logprobs(model, tokenizer, text, 24)
        said = artifact.classify(text)
        np.testing.assert_allclose(list(said.values()), wanted, atol=1e-4)
        assert max(said, key=lambda label: said[label]) == LABELS[int(wanted.argmax())]


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_mean_of_tokens_gives_what_sentence_transformers_gives(tmp_path: Path, kind: str) -> None:
    folder = encoder_folder(tmp_path / "model", kind, mean=True)
    assert is_classifier(folder)
    manifest = export_classifier(folder, tmp_path / "out", golden_texts=[*ODD, "so sorry"])
    assert (manifest.parity.same_tokens, manifest.model.window) == (7, 24)
    artifact, theirs = Artifact.open(tmp_path / "out"), SentenceTransformer(str(folder))
    theirs.max_seq_length = 24
    for text in [*ODD, *labelled(94, seed=4).texts]:
        wanted = theirs.encode(text, convert_to_tensor=True).double().log_softmax(0)
        np.testing.assert_allclose(list(artifact.classify(text).values()), wanted, atol=1e-4)


@pytest.mark.parametrize("scheme", ["int8", "dynamic-int8", "float16", "int4"])
def test_fewer_bits_keep_the_labels(bert: Path, tmp_path: Path, scheme: Any) -> None:
    export_classifier(bert, tmp_path / "whole")
    export_classifier(bert, tmp_path / "small", quantize=scheme)
    whole, small = (Artifact.open(tmp_path / name) for name in ("whole", "small"))
    data = labelled(1000, seed=4)

    def right(artifact: Artifact) -> int:
        said = [artifact.generate(artifact.encode(text))[0].token_id for text in data.texts]
        return sum(one == kind for one, kind in zip(said, data.classes, strict=True))

    before, after = right(whole), right(small)
    assert before > 850
    assert after >= before - (5 if scheme != "int4" else 50)
    sizes = [sum(one.bytes for one in a.manifest.files.values()) for a in (whole, small)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("scheme", ["int8", "dynamic-int8", "int4"])
def test_a_column_that_is_large_for_all_labels_costs_no_label(
    bert: Path, tmp_path: Path, scheme: Any
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(bert)
    with torch.no_grad():
        model.classifier.weight[:, 0] += 100.0  # which no label gains by
    folder = shutil.copytree(bert, tmp_path / "model")
    model.save_pretrained(folder)
    said = []
    for source, out in ((bert, "plain"), (folder, "spread")):
        manifest = export_classifier(source, tmp_path / out, quantize=scheme)
        artifact = Artifact.open(tmp_path / out)
        said.append([list(artifact.classify(text).values()) for text in labelled(200).texts])
    np.testing.assert_allclose(said[1], said[0], atol=1e-3)
    assert "head float32" in manifest.quantization.detail.replace("head in", "head")


def test_parameters_are_those_that_a_token_is_multiplied_by(
    model_dir: Path, tmp_path: Path
) -> None:
    counted = export_classifier(model_dir, tmp_path / "out").model.parameters
    model = AutoModelForSequenceClassification.from_pretrained(model_dir)
    rows = [name for name, _ in model.named_parameters() if "_embeddings.weight" in name]
    kept = [value.numel() for name, value in model.named_parameters() if name not in rows]
    assert (counted, len(rows) > 1) == (sum(kept), True)


def test_memory_is_bounded_before_it_is_opened(bert: Path, tmp_path: Path) -> None:
    export_classifier(bert, tmp_path / "out")
    needed = memory_needed(tmp_path / "out", read_manifest(tmp_path / "out"))
    assert needed.cache == 0
    Artifact.open(tmp_path / "out", max_memory=needed.total)
    with pytest.raises(Exception, match="may take at most"):
        Artifact.open(tmp_path / "out", max_memory=needed.total - 1)


def test_the_window_is_the_tokenizers_where_that_is_shorter(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 9}))
    assert export_classifier(folder, tmp_path / "out").model.window == 9
    artifact = Artifact.open(tmp_path / "out")
    assert len(artifact.encode("my house " * 40)) == 9


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["id2label"].pop("1"), "shape"),
        (lambda c: c.update(id2label={"0": "a", "1": "b", "7": "c"}), "of 0-2, lacks 2"),
        (lambda c: c["id2label"].update({"1": "joy"}), "labels must differ, got 'joy' twice"),
        (lambda c: c["id2label"].update({"1": ""}), "1 to 200 printable characters, got ''"),
        (lambda c: c.update(problem_type="multi_label_classification"), "problem_type must be"),
        (lambda c: c.update(problem_type="regression"), "problem_type must be"),
        (lambda c: c.update(hidden_act="relu6"), "activation must be one of"),
        (lambda c: c.update(vocab_size=9), "shape"),
        (lambda c: c.update(is_decoder=True), "is_decoder must be False"),
        (lambda c: c.update(architectures=["BertForMaskedLM"]), "must be a classifier of texts"),
        (lambda c: c.update(max_position_embeddings=2), "shape"),
    ],
)
def test_what_is_not_written_is_named(
    bert: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    folder = edited(Path(shutil.copytree(bert, tmp_path / "model")), change)
    with pytest.raises(ModelError, match=says) as error:
        export_classifier(folder, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_one_class_another_family_and_another_vocabulary_are_refused(tmp_path: Path) -> None:
    one = encoder_folder(tmp_path / "one", id2label={0: "only"})
    with pytest.raises(ModelError, match="at least 2 labels, got 1"):
        export_classifier(one, tmp_path / "out")
    with pytest.raises(OptionError, match="for a classifier must be one of .* got 8da4w"):
        export_classifier(one, tmp_path / "out", quantize="8da4w")
    small = encoder_folder(tmp_path / "small", vocab_size=20)
    with pytest.raises(ModelError, match="the model's vocabulary only 20"):
        export_classifier(small, tmp_path / "out")


def test_a_device_needs_neither_torch_nor_transformers(bert: Path, tmp_path: Path) -> None:
    export_classifier(bert, tmp_path / "out")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sklearn', 'scipy'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from escalade.edge import Artifact\n"
        f"print(Artifact.open(Path({str(tmp_path / 'out')!r})).classify('he lost and cried'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "deep sadness" in done.stdout
