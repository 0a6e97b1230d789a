"""How many texts had a bucket up to now, and TF-IDF by it; knows no text and no model.

Statistics grow text by text, so that no weight of a stream's text depends on a later one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Frequencies:
    """In how many documents each bucket came up."""

    def __init__(self, buckets: int) -> None:
        #: `(buckets,)`
        self.counts: NDArray[np.int32] = np.zeros(buckets, dtype=np.int32)
        #: All that were added.
        self.documents = 0

    def add(self, indices: NDArray[np.int32]) -> None:
        """Count one document.

        Args:
            indices: its buckets `(n,)`, each once.
        """
        self.counts[indices] += 1
        self.documents += 1


def inverse_frequencies(counts: NDArray[np.int32], documents: int) -> NDArray[np.float64]:
    """Smoothed idf, `ln((1 + documents) / (1 + counts)) + 1`: scikit-learn's TfidfTransformer.

    Args:
        counts: documents that have each bucket `(n,)`.
        documents: all of them.
    """
    idf: NDArray[np.float64] = np.log((1.0 + documents) / (1.0 + counts)) + 1.0
    return idf


def tfidf(
    indices: NDArray[np.int32], counts: NDArray[np.float32], frequencies: Frequencies
) -> NDArray[np.float32]:
    """A document's counts times idf, of length 1.

    Args:
        indices: its buckets `(n,)`.
        counts: `(n,)`.
        frequencies: of the documents up to now, or up to when a model was fitted.

    Returns:
        `(n,)`; empty where the document is.
    """
    return normalized(
        counts * inverse_frequencies(frequencies.counts[indices], frequencies.documents)
    )


def normalized(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """A vector over its Euclidean length, if it has one."""
    length = float(np.sqrt(values @ values))
    return (values / length if length else values).astype(np.float32)
