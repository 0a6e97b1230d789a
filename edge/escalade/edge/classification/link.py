"""From a linear model's sums to log-probabilities, as scikit-learn has them; knows no weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from escalade.edge.classification.entry import Link


def log_probabilities(sums: NDArray[np.float64], link: Link) -> NDArray[np.float64]:
    """Natural logarithms of what scikit-learn's `predict_proba` gives; they sum to 1.

    Args:
        sums: `(K,)`.
        link: `sigmoid` takes each class against the rest and divides by their sum, as
            SGDClassifier does; `softmax` is LogisticRegression's.
    """
    each = sums if link == "softmax" else -np.logaddexp(0.0, -sums)
    whole: NDArray[np.float64] = each - np.logaddexp.reduce(each)
    return whole
