"""How a classifier reads a text and names its answer; knows no program.

Its one answer is a label, which is no text of the tokenizer that it reads with: labels have a
vocabulary of their own, in which each is one token.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from escalade.edge.artifact import Manifest
from escalade.edge.classification import ClassificationEntry
from escalade.edge.errors import ArtifactError


class Classes:
    """The labels of a classifier, and its reading."""

    def __init__(
        self, entry: ClassificationEntry, manifest: Manifest, tokenizer: Tokenizer | None
    ) -> None:
        """Prepare a tokenizer to truncate.

        Args:
            entry: its labels, checked.
            manifest: of the same.
            tokenizer: which it reads with; from now on no text has more tokens than the window.
                None of a linear one.

        Raises:
            ArtifactError: the window has no room beside the special tokens.
        """
        self.labels = entry.labels
        #: Decodes the one token of an answer.
        self.names = Tokenizer(
            WordLevel({label: index for index, label in enumerate(entry.labels)}, unk_token="")
        )
        self._linear, self._tokenizer = entry.linear, tokenizer
        if tokenizer is not None:
            window, special = manifest.model.window, tokenizer.num_special_tokens_to_add(False)
            if window <= special:
                raise ArtifactError(
                    f"{manifest.model.name}: window must be above {special}, the special tokens of"
                    f" a text; got {window}"
                )
            tokenizer.enable_truncation(window)

    def read(self, text: str, most: int) -> list[int]:
        """What the program is fed: ids of tokens, or the buckets of n-grams.

        Args:
            text: of any length.
            most: characters that a tokenizer is given; those after them are not read.
        """
        if self._linear is not None:
            buckets, counts = self._linear.features.counts(text)
            return np.repeat(buckets, counts.astype(np.int64)).tolist()
        assert self._tokenizer is not None  # noqa: S101 - an encoder has one
        ids: list[int] = self._tokenizer.encode(text[:most]).ids
        return ids
