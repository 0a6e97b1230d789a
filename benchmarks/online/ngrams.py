"""Texts as scikit-learn reads them: rows of hashed n-grams, weighed; knows no label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from escalade.edge.classification import Frequencies, HashedNgrams, tfidf


def frequencies_of(features: HashedNgrams, texts: Sequence[str]) -> Frequencies:
    """In how many of the texts each bucket is."""
    frequencies = Frequencies(features.buckets)
    for text in texts:
        frequencies.add(features.counts(text)[0])
    return frequencies


def rows_of(features: HashedNgrams, frequencies: Frequencies, texts: Sequence[str]) -> csr_matrix:
    """`(n, buckets)`, by TF-IDF."""
    found = [features.counts(text) for text in texts]
    values = [tfidf(buckets, counts, frequencies) for buckets, counts in found]
    buckets = np.concatenate([one for one, _ in found])
    ends = np.cumsum([0, *map(len, values)])
    return csr_matrix((np.concatenate(values), buckets, ends), (len(texts), features.buckets))
