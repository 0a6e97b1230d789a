"""Writes a linear classifier as an artifact, held against scikit-learn; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    Manifest,
    ModelEntry,
    QuantizationEntry,
    file_entry,
    write_manifest,
)
from escalade.edge.base import atomic_folder, utc_now
from escalade.edge.classification import (
    WEIGHTS_NAME,
    ClassificationEntry,
    Frequencies,
    HashedNgrams,
    LinearEntry,
    LinearModel,
    LinearWeights,
    Link,
    check_classification,
    read_linear_folder,
    tfidf,
    write_weights,
)
from escalade.edge.deferral import DeferralEntry
from escalade.edge.generation import Artifact
from escalade.export.class_parity import check_labels_given, label_golden, measure_labels
from escalade.export.errors import ModelError
from escalade.export.versions import versions_of

DEFAULT_GOLDEN_TEXTS = ("Hello", "The quick brown fox", "1 + 1 =")


class FittedLinear(Protocol):
    """What is read of scikit-learn's SGDClassifier and LogisticRegression."""

    #: `(K, buckets)`, or `(1, buckets)` of two classes.
    coef_: NDArray[np.float64]
    #: `(K,)`, or `(1,)`.
    intercept_: NDArray[np.float64]
    #: `(K,)`
    classes_: NDArray[np.generic]

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities `(n, K)` of rows `(n, buckets)`."""
        ...


def export_linear(
    classifier: FittedLinear,
    features: HashedNgrams,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    frequencies: Frequencies | None = None,
    name: str = "linear",
    golden_texts: Sequence[str] = DEFAULT_GOLDEN_TEXTS,
) -> Manifest:
    """Export a fitted classifier of scikit-learn to an artifact folder.

    Args:
        classifier: SGDClassifier with `loss="log_loss"`, or LogisticRegression, fitted on
            `features` weighed by `tfidf` with `frequencies`.
        features: how a text became buckets and counts.
        out: the artifact; replaced if an artifact is there.
        labels: what its `classes_` are called, in their order; None takes `classes_` as they are.
        frequencies: with which the texts were weighed; None where every n-gram weighed the same.
        name: what the model is called.
        golden_texts: held against scikit-learn now, and by every later opening.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: it is of another kind, not fitted, or does not fit features or labels.
        ExportParityError: the artifact does not give scikit-learn's label or probability.
    """
    model = linear_model_of(classifier, features, labels=labels, frequencies=frequencies)
    known = frequencies or Frequencies(features.buckets)

    def reference(text: str) -> NDArray[np.float64]:
        row = np.zeros((1, features.buckets), dtype=np.float32)
        buckets, counts = features.counts(text)
        row[0, buckets] = tfidf(buckets, counts, known)
        with np.errstate(divide="ignore"):
            logprobs: NDArray[np.float64] = np.log(classifier.predict_proba(row)[0])
        return logprobs

    return _write(model, out, name, golden_texts, reference)


def export_linear_folder(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    golden_texts: Sequence[str] = DEFAULT_GOLDEN_TEXTS,
) -> Manifest:
    """Export a folder of `write_linear_folder`; there is nothing to hold it against.

    Raises:
        ArtifactError: it cannot be read, or holds what cannot be.
    """
    return _write(
        read_linear_folder(folder), out, name or folder.resolve().name, golden_texts, None
    )


def linear_model_of(
    classifier: FittedLinear,
    features: HashedNgrams,
    *,
    labels: Sequence[str] | None = None,
    frequencies: Frequencies | None = None,
) -> LinearModel:
    """A fitted classifier as a device has it; see `export_linear`.

    Raises:
        ModelError: see `export_linear`.
    """
    link = _link_of(classifier)
    weights = np.atleast_2d(np.asarray(classifier.coef_, dtype=np.float32))
    intercepts = np.atleast_1d(np.asarray(classifier.intercept_, dtype=np.float64))
    named = [str(one) for one in classifier.classes_] if labels is None else list(labels)
    if len(classifier.classes_) != len(named):
        raise ModelError(f"labels must be {len(classifier.classes_)}, got {len(named)}")
    if weights.shape[1] != features.buckets:
        raise ModelError(
            f"the classifier has {weights.shape[1]} features, HashedNgrams {features.buckets}"
            " buckets"
        )
    if frequencies is not None and len(frequencies.counts) != features.buckets:
        raise ModelError(
            f"frequencies must be of {features.buckets} buckets, got {len(frequencies.counts)}"
        )
    if not (np.isfinite(weights).all() and np.isfinite(intercepts).all()):
        raise ModelError("the classifier's weights must be finite, hold NaN or infinity")
    if len(weights) == 1:  # of two classes one row is kept: the second against the first
        weights = np.concatenate([np.zeros_like(weights), weights])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
        link = "softmax"
    known = frequencies or Frequencies(features.buckets)
    kept = np.flatnonzero(weights.any(axis=0) | (known.counts > 0)).astype(np.int32)
    entry = ClassificationEntry(
        labels=named,
        linear=LinearEntry(
            features=features,
            link=link,
            intercepts=intercepts.tolist(),
            documents=known.documents,
        ),
    )
    try:
        check_classification(entry)
    except ValueError as error:
        raise ModelError(str(error)) from error
    return LinearModel(entry, LinearWeights(kept, known.counts[kept], weights[:, kept].T))


def _link_of(classifier: FittedLinear) -> Link:
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    if isinstance(classifier, SGDClassifier):
        if classifier.loss != "log_loss":
            raise ModelError(
                f"an SGDClassifier's loss must be 'log_loss', which has probabilities, got"
                f" {classifier.loss!r}"
            )
    elif not isinstance(classifier, LogisticRegression):
        raise ModelError(
            "a linear classifier must be scikit-learn's SGDClassifier or LogisticRegression, got"
            f" {type(classifier).__name__}"
        )
    if not hasattr(classifier, "coef_"):
        raise ModelError("the classifier is not fitted")
    return "sigmoid" if isinstance(classifier, SGDClassifier) else "softmax"


def _write(
    model: LinearModel,
    out: Path,
    name: str,
    texts: Sequence[str],
    reference: Callable[[str], NDArray[np.float64]] | None,
) -> Manifest:
    """Write the artifact, ask it, and hold it against `reference`, where there is one."""
    entry, rows = model
    assert entry.linear is not None  # noqa: S101 - a linear model has it
    features, classes = entry.linear.features, len(entry.labels)
    with atomic_folder(out, marker=MANIFEST_NAME) as folder:
        write_weights(folder / WEIGHTS_NAME, rows)
        written = file_entry(folder / WEIGHTS_NAME)
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format="linear",
            program=WEIGHTS_NAME,
            classification=entry,
            files={WEIGHTS_NAME: written},
            model=ModelEntry(
                name=name,
                revision=written.sha256,
                tokenizer_fingerprint=features.fingerprint,
                parameters=rows.weights.size + classes,
                vocabulary_size=features.buckets,
                window=features.most_ngrams,
                end_of_sequence_ids=[],
                max_new_tokens=1,
                # One product, and no attention.
                layers=1,
                kv_heads=1,
                head_dim=1,
                widest=classes,
            ),
            quantization=QuantizationEntry(scheme="none", detail="float32 weights"),
            deferral=DeferralEntry(),
            golden=[],
            parity=measure_labels([], []),
            versions=versions_of(("escalade", "numpy", "scikit-learn")),
            created=utc_now(),
        )
        write_manifest(folder, manifest)
        artifact = Artifact.open(folder)
        golden = label_golden(artifact, texts)
        manifest = msgspec.structs.replace(manifest, golden=golden)
        if reference is not None:
            parity = measure_labels(golden, [reference(entry.prompt) for entry in golden])
            check_labels_given(parity, "scikit-learn", scheme="none")
            manifest = msgspec.structs.replace(manifest, parity=parity)
        write_manifest(folder, manifest)
    return manifest
