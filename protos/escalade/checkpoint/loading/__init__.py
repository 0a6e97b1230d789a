"""Weights of a model folder, all of them or none; knows no tokenizer."""

from escalade.checkpoint.loading.network import (
    load_classifier,
    load_encoder,
    load_network,
    load_sentence_encoder,
)

__all__ = [
    "load_classifier",
    "load_encoder",
    "load_network",
    "load_sentence_encoder",
]
