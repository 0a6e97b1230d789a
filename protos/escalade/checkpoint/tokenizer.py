"""Loads the tokenizer of a model's folder, the same for whoever asks; knows no weights."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from escalade.checkpoint.errors import CheckpointError, first_line


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that export ships, the server asks and training reads with.

    Args:
        folder: as transformers' `save_pretrained` leaves it.

    Raises:
        CheckpointError: it cannot be loaded, or does not run from a `tokenizer.json`.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # tokenizers raises bare Exception.
    except Exception as error:
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be loaded: {first_line(error)}"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(f"{folder}: its tokenizer does not run from tokenizer.json")
    # A stored setting would be undone and redone at each call, from several threads.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
