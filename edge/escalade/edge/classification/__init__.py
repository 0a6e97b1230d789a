"""What a classifier of texts is made of: features, weights, labels; knows no runtime."""

from escalade.edge.classification.entry import (
    ClassificationEntry,
    LinearEntry,
    Link,
    check_classification,
    check_labels,
)
from escalade.edge.classification.frequencies import (
    Frequencies,
    inverse_frequencies,
    normalized,
    tfidf,
)
from escalade.edge.classification.hashed_ngrams import HashedNgrams
from escalade.edge.classification.linear_folder import (
    CLASSIFICATION_NAME,
    WEIGHTS_NAME,
    LinearModel,
    read_linear_folder,
    write_linear_folder,
)
from escalade.edge.classification.linear_weights import (
    LinearWeights,
    read_weights,
    write_weights,
)
from escalade.edge.classification.link import log_probabilities

__all__ = [
    "CLASSIFICATION_NAME",
    "WEIGHTS_NAME",
    "ClassificationEntry",
    "Frequencies",
    "HashedNgrams",
    "LinearEntry",
    "LinearModel",
    "LinearWeights",
    "Link",
    "check_classification",
    "check_labels",
    "inverse_frequencies",
    "log_probabilities",
    "normalized",
    "read_linear_folder",
    "read_weights",
    "tfidf",
    "write_linear_folder",
    "write_weights",
]
