"""Sentence encoders as artifacts: sentence-transformers' vectors and cosines, or a refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from classifiers import ENCODERS, encoder_folder, labelled
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from escalade.edge import Artifact
from escalade.edge.artifact import memory_needed, read_manifest, write_manifest
from escalade.edge.errors import ArtifactError, ParityError
from escalade.edge.generation import SentenceEncoder, check_opens, play_golden
from escalade.edge.store import install
from escalade.export.artifact.classifier import export_classifier
from escalade.export.artifact.sentences import export_sentence_encoder
from escalade.export.errors import ModelError, OptionError

# Short, empty, longer than the window, and what spells special tokens.
ODD = ["a", "", "?!", "lost " * 100, "it was <pad> great <pad>", "[PAD] [SEP] my [CLS]", "é\u200b"]


def sentences(folder: Path, kind: str = "bert") -> Path:
    """A folder of sentence-transformers: an encoder of random weights, its mean, at length 1."""
    encoder_folder(folder / "encoder", kind)
    modules = [Transformer(str(folder / "encoder")), Pooling(32), Normalize()]
    encoder = SentenceTransformer(modules=modules)
    encoder.max_seq_length = 20
    encoder.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentences(tmp_path_factory.mktemp("sentences"))


@pytest.mark.parametrize("kind", ENCODERS)
def test_vectors_are_those_of_sentence_transformers(tmp_path: Path, kind: str) -> None:
    folder = sentences(tmp_path, kind)
    manifest = export_sentence_encoder(folder, tmp_path / "out", golden_texts=["a", "so sorry"])
    assert manifest.model.window == 20
    assert manifest.embedding
    assert (manifest.embedding.dimensions, len(manifest.embedding.golden)) == (32, 2)
    assert manifest.embedding.max_abs_delta < 1e-5
    ours, theirs = SentenceEncoder.open(tmp_path / "out"), SentenceTransformer(str(folder))
    texts = [*ODD, *labelled(94, seed=4).texts]
    wanted = theirs.encode(texts)
    for text, vector in zip(texts, wanted, strict=True):
        np.testing.assert_allclose(ours.embed(text), vector, atol=1e-4)
    assert ours.similarity(texts[0], texts[-1]) == pytest.approx(wanted[0] @ wanted[-1], abs=1e-4)


@pytest.mark.parametrize("scheme", ["int8", "dynamic-int8", "float16", "int4"])
def test_fewer_bits_keep_who_is_alike(bert: Path, tmp_path: Path, scheme: Any) -> None:
    export_sentence_encoder(bert, tmp_path / "out", quantize=scheme)
    ours, theirs = SentenceEncoder.open(tmp_path / "out"), SentenceTransformer(str(bert))
    texts = labelled(40, seed=4).texts
    wanted = theirs.encode(texts)
    for k, text in enumerate(texts):
        assert float(ours.embed(text) @ wanted[k]) > 0.98


def test_it_is_held_against_what_it_said_and_bounded(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = export_sentence_encoder(bert, out)
    needed = memory_needed(out, manifest)
    assert needed.cache == 0
    SentenceEncoder.open(out, max_memory=needed.total)
    with pytest.raises(ArtifactError, match="may take at most"):
        SentenceEncoder.open(out, max_memory=needed.total - 1)
    assert manifest.embedding
    first, *rest = manifest.embedding.golden
    golden = [msgspec.structs.replace(first, cosine=first.cosine - 0.01), *rest]
    embedding = msgspec.structs.replace(manifest.embedding, golden=golden)
    write_manifest(out, msgspec.structs.replace(manifest, embedding=embedding))
    with pytest.raises(ParityError, match=r"golden texts 'Hello' and .* gave cosine"):
        SentenceEncoder.open(out)
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        SentenceEncoder.open(out)


def test_it_goes_through_a_store_as_any_artifact(bert: Path, tmp_path: Path) -> None:
    export_sentence_encoder(bert, tmp_path / "out")
    assert play_golden(tmp_path / "out") == (3, 3)
    install(str(tmp_path / "out"), tmp_path / "store", check=check_opens)
    assert SentenceEncoder.open(tmp_path / "store" / "current").similarity("a", "a") > 0.999


def test_neither_kind_is_taken_for_the_other(bert: Path, tmp_path: Path) -> None:
    export_sentence_encoder(bert, tmp_path / "sentences")
    export_classifier(encoder_folder(tmp_path / "model"), tmp_path / "labels")
    with pytest.raises(ArtifactError, match="a sentence encoder, which answers nothing"):
        Artifact.open(tmp_path / "sentences")
    with pytest.raises(ArtifactError, match="not a sentence encoder"):
        SentenceEncoder.open(tmp_path / "labels")
    classifier = read_manifest(tmp_path / "labels")
    both = msgspec.structs.replace(
        read_manifest(tmp_path / "sentences"), classification=classifier.classification
    )
    write_manifest(tmp_path / "sentences", both)
    with pytest.raises(ArtifactError, match="classification and embedding: an artifact has one"):
        SentenceEncoder.open(tmp_path / "sentences")


def _edited(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            _edited("modules.json", lambda listed: listed[2].update(type=listed[2]["type"] + "d")),
            "after Pooling may come Normalize, got Normalized",
        ),
        (
            _edited("1_Pooling/config.json", lambda pooling: pooling.update(pooling_mode="cls")),
            "pooling must be the mean of tokens, got cls",
        ),
        (
            _edited("sentence_bert_config.json", lambda found: found.update(max_seq_length=0)),
            "max_seq_length must be at least 1, got 0",
        ),
        (
            _edited("config.json", lambda config: config.update(hidden_act="mish")),
            "activation must be one of .*, got 'mish'",
        ),
    ],
)
def test_what_is_not_written_is_refused(
    bert: Path, tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "model"))
    change(folder)
    with pytest.raises(ModelError, match=says):
        export_sentence_encoder(folder, tmp_path / "out")
    with pytest.raises(OptionError, match="--quantize for a sentence encoder must be one of"):
        export_sentence_encoder(folder, tmp_path / "out", quantize="8da4w")
    assert not (tmp_path / "out").exists()
