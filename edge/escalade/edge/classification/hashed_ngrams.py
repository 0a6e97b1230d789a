"""A text as counts of hashed n-grams of words and characters, without a vocabulary; knows no model.

Weinberger et al., "Feature hashing for large scale multitask learning" (ICML 2009), with CRC-32
of the n-gram's UTF-8 for the hash: the same on every machine and in every process. Counts have no
signs, which make up for n-grams that share a bucket: of 2^18 few are shared.

What a word is depends on the Unicode tables of the Python that runs, for characters that one
version knows as letters and an older one does not yet.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.base import listed
from escalade.edge.deferral import Table

# Letters, digits and underscores; with an apostrophe between them still one word (`don't`).
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
#: Words or characters of an n-gram.
LONGEST_NGRAM = 8
# Before characters; no word has it, and so they are not taken for a word of the same letters.
_WITHIN = b"\0"

_MOST_BUCKETS, _MOST_CHARACTERS = 1 << 24, 1 << 20

_Length = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_NGRAM)]


class HashedNgrams(Table, frozen=True, kw_only=True):
    """Counts of n-grams, hashed into buckets. Words are lower-cased.

    Raises:
        ValueError: a value is out of range.
    """

    #: At least 2; a power of two or not.
    buckets: Annotated[int, msgspec.Meta(ge=2, le=_MOST_BUCKETS)] = 1 << 18
    #: The least and the most words of an n-gram, 1 to 8.
    words: tuple[_Length, _Length] = (1, 2)
    #: The least and the most characters of n-grams within a word, which has a space at each end;
    #: None for words alone.
    characters: tuple[_Length, _Length] | None = None
    #: Characters of a text that are read; what stands after them does not count.
    longest_text: Annotated[int, msgspec.Meta(ge=1, le=_MOST_CHARACTERS)] = 1 << 16

    def __post_init__(self) -> None:
        """Check what holds between values, and what msgspec checks in files alone."""
        for name, lengths in (("words", self.words), ("characters", self.characters or (1, 1))):
            if not 1 <= lengths[0] <= lengths[1] <= LONGEST_NGRAM:
                raise ValueError(
                    f"{name} must be two rising numbers in 1-{LONGEST_NGRAM}, got {listed(lengths)}"
                )
        for name, value, low, high in (
            ("buckets", self.buckets, 2, _MOST_BUCKETS),
            ("longest_text", self.longest_text, 1, _MOST_CHARACTERS),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be in {low}-{high}, got {value}")

    @property
    def most_ngrams(self) -> int:
        """No text has more: its words were of one character each."""
        most = _lengths(self.words) * self.longest_text
        if self.characters is not None:  # every second one may be a word, with its two spaces
            most += _lengths(self.characters) * (2 * self.longest_text + 1)
        return most

    @property
    def fingerprint(self) -> str:
        """The sha256 over all values, in hexadecimal: two of one fingerprint read texts alike."""
        said = msgspec.structs.asdict(self)
        if self.characters is None:  # as it was before there were any
            del said["characters"]
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()

    def counts(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The buckets of a text's n-grams, and how many n-grams fell into each.

        Args:
            text: any; one without a word has no n-grams.

        Returns:
            Buckets `(n,)`, rising, and counts `(n,)`, at least 1.
        """
        read = text if len(text) <= self.longest_text else text[: self.longest_text]
        # No space is part of a word, so that an n-gram is hashed with the words it is made of.
        found = _WORD.findall(read.lower())
        words = [word.encode() for word in found]
        least, most = self.words
        hashes = [crc32(word) for word in words] if least == 1 else []
        for length in range(max(least, 2), most + 1):
            hashes += map(crc32, _joined(words, length))
        if self.characters is not None:
            for word in found:
                hashes += map(crc32, _within(word, *self.characters))
        buckets, counts = np.unique(
            np.array(hashes, dtype=np.int64) % self.buckets, return_counts=True
        )
        return buckets.astype(np.int32), counts.astype(np.float32)


def _joined(words: list[bytes], length: int) -> list[bytes]:
    return [b" ".join(few) for few in zip(*(words[at:] for at in range(length)), strict=False)]


def _within(word: str, least: int, most: int) -> list[bytes]:
    """N-grams of a word's characters."""
    spaced = f" {word} "
    return [
        _WITHIN + spaced[at : at + length].encode()
        for length in range(least, most + 1)
        for at in range(len(spaced) - length + 1)
    ]


def _lengths(ends: tuple[int, int]) -> int:
    return ends[1] - ends[0] + 1
