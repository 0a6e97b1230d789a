"""Texts of three kinds, and classifiers of them that tests of several parts share: small, real."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, SGDClassifier

from escalade.edge.classification import Frequencies, HashedNgrams, tfidf
from escalade.export.linear import export_linear

LABELS = ["joy", "deep sadness", "Ärger"]
_OWN = [
    ["glad", "happy", "sunny", "laughed", "party", "friend", "won", "great"],
    ["lost", "died", "alone", "cried", "grey", "funeral", "sorry", "missing"],
    ["furious", "unfair", "shouted", "broke", "liar", "rude", "cheated", "slammed"],
]
_COMMON = ["i", "was", "the", "a", "when", "my", "and", "then", "it", "so", "not", "house", "day"]


class Labelled(NamedTuple):
    texts: list[str]
    #: Places in `LABELS`.
    classes: list[int]


def labelled(count: int, *, seed: int = 0, kinds: int = 3) -> Labelled:
    """Sentences of common words, with one or two that tell; one in ten has another's words."""
    draw = random.Random(seed)
    texts, classes = [], []
    for index in range(count):
        kind = index % kinds
        told = _OWN[draw.randrange(kinds) if draw.random() < 0.1 else kind]
        words = draw.choices(_COMMON, k=draw.randrange(3, 30)) + draw.sample(told, 2)
        draw.shuffle(words)
        texts.append(" ".join(words))
        classes.append(kind)
    return Labelled(texts, classes)


def weighed(
    features: HashedNgrams, frequencies: Frequencies | None, texts: list[str]
) -> csr_matrix:
    """Rows of TF-IDF."""
    known = frequencies or Frequencies(features.buckets)
    found = [features.counts(text) for text in texts]
    values = [tfidf(buckets, counts, known) for buckets, counts in found]
    ends = np.cumsum([0, *map(len, values)])
    return csr_matrix(
        (np.concatenate(values), np.concatenate([buckets for buckets, _ in found]), ends),
        (len(texts), features.buckets),
    )


def frequencies_of(features: HashedNgrams, texts: list[str]) -> Frequencies:
    frequencies = Frequencies(features.buckets)
    for text in texts:
        frequencies.add(features.counts(text)[0])
    return frequencies


def fitted(
    features: HashedNgrams, frequencies: Frequencies | None, *, kinds: int = 3, sgd: bool = True
) -> SGDClassifier | LogisticRegression:
    data = labelled(300, kinds=kinds)
    classifier = SGDClassifier(loss="log_loss", random_state=0) if sgd else LogisticRegression(C=9)
    return classifier.fit(weighed(features, frequencies, data.texts), data.classes)


def linear_artifact(out: Path, *, buckets: int = 1 << 12, sgd: bool = True) -> Path:
    """An artifact of it, fitted on 300 sentences."""
    features = HashedNgrams(buckets=buckets)
    frequencies = frequencies_of(features, labelled(300).texts)
    export_linear(
        fitted(features, frequencies, sgd=sgd),
        features,
        out,
        labels=LABELS,
        frequencies=frequencies,
        golden_texts=labelled(3, seed=1).texts,
    )
    return out
