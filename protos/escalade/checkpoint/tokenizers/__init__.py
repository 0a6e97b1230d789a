"""The tokenizer of a model folder, one and the same for whoever asks; knows no weights."""

from escalade.checkpoint.tokenizers.probing import probing_texts
from escalade.checkpoint.tokenizers.tokenizer import (
    check_vocabulary,
    load_tokenizer,
    tokenizer_fingerprint,
    tokenizer_json,
)

__all__ = [
    "check_vocabulary",
    "load_tokenizer",
    "probing_texts",
    "tokenizer_fingerprint",
    "tokenizer_json",
]
