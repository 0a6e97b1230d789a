"""A level that is scikit-learn's SGD over hashed n-grams; knows no expert and no calibrator.

TF-IDF counts the texts it has learned from up to now: nothing of a stream's future is in a weight.
An update is one `partial_fit` on the new examples and on some that it has learned from before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.classification import (
    ClassificationEntry,
    Frequencies,
    HashedNgrams,
    LinearEntry,
    LinearModel,
    LinearWeights,
    log_probabilities,
    tfidf,
    write_linear_folder,
)
from escalade.training.online.levels.level import Example, Floats, Prediction, Tensors

if TYPE_CHECKING:  # they take two seconds to load, and who hands over to a learner needs neither
    from scipy import sparse
    from sklearn.linear_model import SGDClassifier

# log of it is finite, and the loss of a label that was ruled out with it.
_LEAST_PROBABILITY = 1e-12
# A product and a sum for each weight that is used.
_FLOPS_PER_WEIGHT = 2.0
# Scores, and then the gradient's step.
_FLOPS_PER_LEARNED_WEIGHT = 4.0

_Counts = tuple[NDArray[np.int32], NDArray[np.float32]]


class LinearSettings(NamedTuple):
    """How a text is counted, and how fast a weight forgets."""

    features: HashedNgrams
    #: Of scikit-learn's L2 penalty, which sets its learning rate too.
    alpha: float
    #: Examples learned from again in each update, and the latest that are kept for it.
    replay: int
    memory: int
    #: Passes over the examples of an update.
    epochs: int


class LinearLevel:
    """See `Level`."""

    def __init__(self, labels: Sequence[str], settings: LinearSettings, *, seed: int) -> None:
        """Know nothing: every class is as likely as another until the first update.

        Args:
            labels: of the K >= 2 classes.
            settings: see `LinearSettings`.
            seed: of what is learned from again, and of the order.
        """
        self._labels, self._settings, self._seed = tuple(labels), settings, seed
        self._frequencies = Frequencies(settings.features.buckets)
        self._memory: list[tuple[_Counts, int]] = []
        self._updates = 0
        self._model = self._fresh()
        self._taught = False  # a classifier of scikit-learn's has no weights before it is

    def predict(self, text: str) -> Prediction:
        """See `Level`."""
        classes = len(self._labels)
        if not self._taught:
            return Prediction(np.full(classes, -np.log(classes)), 0.0)
        indices, counts = self._settings.features.counts(text)
        values = tfidf(indices, counts, self._frequencies)
        weights = self._model.coef_[:, indices]
        scores = weights @ values.astype(np.float64) + self._model.intercept_
        return Prediction(_log_probabilities(scores), _FLOPS_PER_WEIGHT * weights.size)

    def learn(self, examples: Sequence[Example]) -> float:
        """See `Level`."""
        new = [(self._settings.features.counts(one.text), one.label) for one in examples]
        for (indices, _), _ in new:
            self._frequencies.add(indices)
        generator = np.random.default_rng([self._seed, self._updates])
        again = min(self._settings.replay, len(self._memory))
        old = generator.choice(len(self._memory), again, replace=False) if again else ()
        batch = [*new, *(self._memory[k] for k in old)]
        learned = 0
        for _ in range(self._settings.epochs):
            ordered = [batch[k] for k in generator.permutation(len(batch))]
            features = self._features([counts for counts, _ in ordered])
            self._model.partial_fit(
                features, [label for _, label in ordered], classes=np.arange(len(self._labels))
            )
            learned += features.nnz
        self._memory += new
        del self._memory[: max(0, len(self._memory) - self._settings.memory)]
        self._updates += 1
        self._taught = True
        rows, buckets = self._model.coef_.shape
        # scikit-learn scales all weights once, at the end of each `partial_fit`.
        scaled = rows * buckets * self._settings.epochs
        return float(_FLOPS_PER_LEARNED_WEIGHT * learned * rows + scaled)

    def state(self) -> Tensors:
        """See `Level`."""
        counted = [counts for counts, _ in self._memory]
        state: Tensors = {
            "documents": np.array([self._frequencies.documents], dtype=np.int64),
            "frequencies": self._frequencies.counts,
            "updates": np.array([self._updates], dtype=np.int64),
            "memory.labels": np.array([label for _, label in self._memory], dtype=np.int32),
            "memory.ends": np.cumsum([len(one) for one, _ in counted], dtype=np.int64),
            "memory.indices": _joined([one for one, _ in counted], np.int32),
            "memory.counts": _joined([one for _, one in counted], np.float32),
        }
        if self._taught:
            state["weights"] = self._model.coef_
            state["intercepts"] = self._model.intercept_
            state["steps"] = np.array([self._model.t_])
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Level`."""
        self._frequencies.counts = state["frequencies"].copy()
        self._frequencies.documents = int(state["documents"][0])
        self._updates = int(state["updates"][0])
        ends = state["memory.ends"][:-1]
        pairs = zip(
            np.split(state["memory.indices"], ends),
            np.split(state["memory.counts"], ends),
            strict=True,
        )
        labels = [int(label) for label in state["memory.labels"]]
        self._memory = list(zip(pairs, labels, strict=False))
        self._model = self._fresh()
        self._taught = "weights" in state
        if self._taught:
            from scipy import sparse

            # What `partial_fit` makes by itself, of the right shapes; then as it was.
            empty = sparse.csr_matrix((1, self._settings.features.buckets))
            self._model.partial_fit(empty, [0], classes=np.arange(len(self._labels)))
            self._model.coef_ = state["weights"].copy()
            self._model.intercept_ = state["intercepts"].copy()
            self._model.t_ = float(state["steps"][0])

    def save(self, folder: Path) -> None:
        """See `Level`."""
        seen = np.flatnonzero(self._frequencies.counts).astype(np.int32)
        if self._taught:
            rows, intercepts = self._model.coef_[:, seen].T, self._model.intercept_
        else:  # every class is as likely as another
            classes = len(self._labels)
            rows, intercepts = np.zeros((0, classes)), np.zeros(classes)
        if rows.shape[1] == 1:  # the second of two classes; sigmoid(-z) = 1 - sigmoid(z)
            rows = np.concatenate([-rows, rows], axis=1)
            intercepts = np.concatenate([-intercepts, intercepts])
        linear = LinearEntry(
            features=self._settings.features,
            link="sigmoid",
            intercepts=[float(value) for value in intercepts],
            documents=self._frequencies.documents,
        )
        entry = ClassificationEntry(labels=list(self._labels), linear=linear)
        kept = LinearWeights(seen, self._frequencies.counts[seen], rows.astype(np.float32))
        write_linear_folder(folder, LinearModel(entry, kept))

    def _fresh(self) -> SGDClassifier:
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(
            loss="log_loss",
            alpha=self._settings.alpha,
            random_state=self._seed % (1 << 32),
            shuffle=False,
        )

    def _features(self, counted: Sequence[_Counts]) -> sparse.csr_matrix:
        """TF-IDF of n texts `(n, buckets)`."""
        from scipy import sparse

        values = [tfidf(*one, self._frequencies) for one in counted]
        ends = np.cumsum([0, *map(len, values)])
        indices = _joined([one for one, _ in counted], np.int32)
        shape = (len(counted), self._settings.features.buckets)
        return sparse.csr_matrix((_joined(values, np.float64), indices, ends), shape=shape)


def _log_probabilities(scores: Floats) -> Floats:
    """As the device's: sigmoids, over their sum; none so small that its loss is not finite.

    Args:
        scores: of K classes each against the rest `(K,)`; of two classes the second's alone.
    """
    rows = np.array([-scores[0], scores[0]]) if scores.size == 1 else scores
    logprobs = log_probabilities(rows, "sigmoid")
    least: Floats = np.maximum(logprobs, np.log(_LEAST_PROBABILITY))
    return least


def _joined(arrays: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype=kind), *arrays]).astype(kind, copy=False)
