"""Runs a linear classifier over hashed n-grams with numpy alone; knows no text, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import Manifest
from escalade.edge.classification import (
    inverse_frequencies,
    log_probabilities,
    normalized,
    read_weights,
)
from escalade.edge.runtimes.base import ReadsNoDraft, Step, class_step
from escalade.edge.runtimes.sampling import Sampling


class LinearRuntime(ReadsNoDraft):
    """Classification; the tokens of a prompt are the buckets of its n-grams."""

    def __init__(self, program: Path, manifest: Manifest) -> None:
        """Read the weights.

        Args:
            program: the file of weights.
            manifest: checked by the caller, of a linear classifier.

        Raises:
            ArtifactError: the file cannot be read, or does not fit the manifest.
        """
        entry, linear = manifest.classifier, manifest.linear
        assert entry is not None  # noqa: S101 - who opens has looked
        assert linear is not None  # noqa: S101
        self._rows = read_weights(program, entry)
        self._link = linear.link
        self._intercepts = np.array(linear.intercepts)
        self._idf = inverse_frequencies(self._rows.documents, linear.documents)
        self._idf_of_new = float(inverse_frequencies(np.zeros(1, np.int32), linear.documents)[0])

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        """See `Runtime.generate`; a prompt may be empty, and nothing is drawn."""
        if cancelled is None or not cancelled():
            yield class_step(log_probabilities(self._sums(prompt_ids), self._link))

    def _sums(self, prompt_ids: Sequence[int]) -> NDArray[np.float64]:
        """`(K,)`, before the link."""
        if not prompt_ids or not len(self._rows.buckets):
            return self._intercepts
        buckets, counts = np.unique(np.array(prompt_ids, dtype=np.int64), return_counts=True)
        at = np.minimum(np.searchsorted(self._rows.buckets, buckets), len(self._rows.buckets) - 1)
        seen = self._rows.buckets[at] == buckets
        idf: NDArray[np.float64] = np.where(seen, self._idf[at], self._idf_of_new)
        values = normalized(idf * counts)
        sums: NDArray[np.float64] = self._intercepts + values[seen].astype(
            np.float64
        ) @ self._rows.weights[at[seen]].astype(np.float64)
        return sums
