"""Which class an expert's answer names; knows no expert."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from escalade.training.errors import RecipeError

_NO_WORD = re.compile(r"[\W_]+")


class Parser:
    """Finds a label in an answer.

    Case, punctuation and the forms of Unicode do not count. An answer that is a label alone names
    it. Another one names a label if it holds that one's words in a row and those of no other; a
    label within a longer one that is there is not named by it (`hate` in `no hate`). What else it
    says is not understood: "not joy" names joy.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Take the labels.

        Args:
            labels: at least 2.

        Raises:
            RecipeError: two are alike, or one has no letter and no digit.
        """
        self._labels = tuple(labels)
        self._classes: dict[str, int] = {}
        for number, label in enumerate(labels):
            folded = _folded(label)
            if not folded:
                raise RecipeError(f"labels: {label!r} has no letter and no digit")
            if folded in self._classes:
                other = labels[self._classes[folded]]
                raise RecipeError(f"labels: {label!r} and {other!r} cannot be told apart")
            self._classes[folded] = number
        longest_first = sorted(self._classes, key=len, reverse=True)
        self._any = re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, longest_first))})(?!\S)")

    def __call__(self, answer: str) -> int | None:
        """The class that an answer names, 0..K-1; None where it names none, or several."""
        folded = _folded(answer)
        if (alone := self._classes.get(folded)) is not None:
            return alone
        named = set(self._any.findall(folded))
        return self._classes[named.pop()] if len(named) == 1 else None

    def label(self, answer: str) -> str | None:
        """The label that an answer names; None where it names none, or several."""
        number = self(answer)
        return None if number is None else self._labels[number]


def _folded(text: str) -> str:
    """Words in lower case with one space between them."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
