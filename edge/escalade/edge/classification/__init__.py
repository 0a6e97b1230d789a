"""What a classifier of texts is made of: features, weights, labels; knows no runtime."""

from escalade.edge.classification.frequencies import Frequencies, tfidf
from escalade.edge.classification.hashed_ngrams import HashedNgrams

__all__ = ["Frequencies", "HashedNgrams", "tfidf"]
