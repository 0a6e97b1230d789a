"""Linear classifiers of scikit-learn as artifacts: its labels, its probabilities, or a refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers import LABELS, fitted, frequencies_of, labelled, linear_artifact, weighed
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier

from escalade.edge import Artifact
from escalade.edge.artifact import read_manifest
from escalade.edge.classification import (
    Frequencies,
    HashedNgrams,
    LinearModel,
    read_linear_folder,
    write_linear_folder,
)
from escalade.edge.errors import ArtifactError
from escalade.export.errors import ExportParityError, ModelError
from escalade.export.linear import export_linear, export_linear_folder, linear_model_of

FEATURES = HashedNgrams(buckets=1 << 12)


@pytest.fixture(scope="module")
def frequencies() -> Frequencies:
    return frequencies_of(FEATURES, labelled(300).texts)


@pytest.mark.parametrize("sgd", [True, False])
@pytest.mark.parametrize("kinds", [2, 3])
@pytest.mark.parametrize("known", [True, False])
def test_labels_and_probabilities_are_scikit_learns(
    frequencies: Frequencies, tmp_path: Path, sgd: bool, kinds: int, known: bool
) -> None:
    own = frequencies if known else None
    classifier = fitted(FEATURES, own, kinds=kinds, sgd=sgd)
    export_linear(classifier, FEATURES, tmp_path, labels=LABELS[:kinds], frequencies=own)
    artifact = Artifact.open(tmp_path)
    texts = [*labelled(200, seed=7).texts, "?!", "words that nobody has seen yet"]
    wanted = classifier.predict_proba(weighed(FEATURES, own, texts))
    for text, probabilities in zip(texts, wanted, strict=True):
        said = artifact.classify(text)
        assert list(said) == LABELS[:kinds]
        np.testing.assert_allclose(list(said.values()), np.log(probabilities), atol=1e-5)
        steps = artifact.generate(artifact.encode(text))
        assert artifact.text_of(steps) == LABELS[int(probabilities.argmax())]
        assert [step.logprob for step in steps] == [max(said.values())]


def test_two_exports_of_one_model_are_the_same_bytes(tmp_path: Path) -> None:
    one, other = (linear_artifact(tmp_path / name) for name in ("one", "other"))
    assert (one / "linear.npy").read_bytes() == (other / "linear.npy").read_bytes()
    parity = read_manifest(one).parity
    assert (parity.prompts, parity.same_tokens) == (3, 3)
    assert parity.max_abs_delta_nll < 1e-5


def test_buckets_that_nobody_saw_take_no_place(frequencies: Frequencies, tmp_path: Path) -> None:
    wide = HashedNgrams()
    known = frequencies_of(wide, labelled(300).texts)
    model = linear_model_of(fitted(wide, known), wide, labels=LABELS, frequencies=known)
    assert len(model.rows.buckets) == np.count_nonzero(known.counts)
    write_linear_folder(tmp_path / "folder", model)
    size = (tmp_path / "folder" / "linear.npy").stat().st_size
    assert size < 20 * len(model.rows.buckets) + 300


def test_a_folder_becomes_the_same_artifact(frequencies: Frequencies, tmp_path: Path) -> None:
    classifier = fitted(FEATURES, frequencies)
    model = linear_model_of(classifier, FEATURES, labels=LABELS, frequencies=frequencies)
    write_linear_folder(tmp_path / "folder", model)
    again: LinearModel = read_linear_folder(tmp_path / "folder")
    assert again.entry == model.entry
    export_linear_folder(tmp_path / "folder", tmp_path / "out")
    export_linear(classifier, FEATURES, tmp_path / "own", labels=LABELS, frequencies=frequencies)
    here, there = Artifact.open(tmp_path / "out"), Artifact.open(tmp_path / "own")
    text = labelled(1, seed=5).texts[0]
    assert here.classify(text) == there.classify(text)
    assert here.manifest.model.name == "folder"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.coef_.__setitem__((0, 0), np.nan), "weights must be finite"),
        (lambda c: setattr(c, "intercept_", c.intercept_ + np.inf), "weights must be finite"),
        (lambda c: setattr(c, "loss", "hinge"), "loss must be 'log_loss'.*got 'hinge'"),
        (lambda c: delattr(c, "coef_"), "not fitted"),
        (lambda c: setattr(c, "coef_", c.coef_[:, :9]), "9 features, HashedNgrams 4096 buckets"),
    ],
)
def test_what_is_wrong_with_a_classifier_is_named(
    frequencies: Frequencies, tmp_path: Path, change: Callable[[Any], object], says: str
) -> None:
    classifier = fitted(FEATURES, frequencies)
    change(classifier)
    with pytest.raises(ModelError, match=says):
        export_linear(classifier, FEATURES, tmp_path / "out", labels=LABELS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["joy", "joy", "anger"], "labels must differ, got 'joy' twice"),
        (["joy", " ", "anger"], "printable characters, got ' '"),
        (["joy", "a\nb", "anger"], "printable characters"),
        (["joy", "sadness"], "labels must be 3, got 2"),
    ],
)
def test_labels_that_are_no_answers_are_refused(
    frequencies: Frequencies, tmp_path: Path, labels: list[str], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        export_linear(fitted(FEATURES, frequencies), FEATURES, tmp_path / "out", labels=labels)


def test_other_kinds_of_classifiers_and_other_statistics_are_refused(
    frequencies: Frequencies, tmp_path: Path
) -> None:
    for other in (Ridge(), SGDClassifier()):
        with pytest.raises(ModelError, match="must be"):
            export_linear(other, FEATURES, tmp_path / "out")
    with pytest.raises(ModelError, match="of 4096 buckets, got 8"):
        export_linear(
            fitted(FEATURES, None), FEATURES, tmp_path / "out", labels=LABELS,
            frequencies=Frequencies(8),
        )  # fmt: skip


def test_a_classifier_that_is_not_what_predict_proba_says_is_refused(tmp_path: Path) -> None:
    class Other(LogisticRegression):  # type: ignore[misc]
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X)[:, ::-1]

    data = labelled(300)
    classifier = Other(C=9).fit(weighed(FEATURES, None, data.texts), data.classes)
    with pytest.raises(ExportParityError, match="golden texts have scikit-learn's label"):
        export_linear(classifier, FEATURES, tmp_path / "out", labels=LABELS)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros(3), "must be rows of"),
        (np.array([{}], dtype=object), "must be rows of"),
        (np.zeros((2, 2), dtype="<i4"), "must be rows of"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(
    frequencies: Frequencies, tmp_path: Path, rows: Any, says: str
) -> None:
    model = linear_model_of(fitted(FEATURES, None), FEATURES, labels=LABELS)
    write_linear_folder(tmp_path / "folder", model)
    np.save(tmp_path / "folder" / "linear.npy", rows, allow_pickle=True)
    with pytest.raises(ArtifactError, match=says):
        export_linear_folder(tmp_path / "folder", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "index", "value", "says"),
    [
        ("weights", 0, np.nan, "weights that are finite"),
        ("buckets", 1, 0, "buckets that rise"),
        ("buckets", -1, 4096, "buckets in 0-4095"),
        ("documents", 0, 1, "documents in 0-0"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    tmp_path: Path, name: str, index: int, value: float, says: str
) -> None:
    model = linear_model_of(fitted(FEATURES, None), FEATURES, labels=LABELS)
    getattr(model.rows, name)[index] = value
    write_linear_folder(tmp_path / "folder", model)
    with pytest.raises(ArtifactError, match=says):
        read_linear_folder(tmp_path / "folder")


def test_a_device_needs_neither_torch_nor_transformers_nor_scikit_learn(tmp_path: Path) -> None:
    out = linear_artifact(tmp_path / "out")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sklearn', 'scipy'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from escalade.edge import Artifact\n"
        f"print(Artifact.open(Path({str(out)!r})).classify({labelled(1).texts[0]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "deep sadness" in done.stdout


def test_a_file_that_claims_more_rows_than_it_has_takes_no_memory(tmp_path: Path) -> None:
    model = linear_model_of(fitted(FEATURES, None), FEATURES, labels=LABELS)
    write_linear_folder(tmp_path / "folder", model)
    path, count = tmp_path / "folder" / "linear.npy", len(model.rows.buckets)
    said, huge = f"({count},), }}".encode(), b"(99999999999,), }"
    raw = path.read_bytes()
    padded = said + b" " * (len(huge) - len(said))
    assert padded in raw
    path.write_bytes(raw.replace(padded, huge, 1))
    with pytest.raises(ArtifactError, match="bytes for 99999999999 rows of 20"):
        read_linear_folder(tmp_path / "folder")
