"""The tokens of an answer with the model's own log-probabilities, as OpenAI lists them; asks none.

A token stands beside the piece of text that it begins in. Where a stop text has cut the answer, the
last token may go beyond the cut; those that begin there are left out.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from typing import NamedTuple

from escalade.edge.generation import TokenTexts

# What OpenAI's API has for what is too unlikely to be a number.
_UNLIKELY = -9999.0


class Token(NamedTuple):
    """One token."""

    text: str
    raw: bytes
    #: Natural logarithm, under the model at temperature 1.
    logprob: float
    #: The likeliest in its place, best first; none where they were not asked for.
    top: Sequence[tuple[str, bytes, float]]
    #: Characters of the answer before it.
    start: int


class Tokens:
    """Those of one answer, as it grows."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._waiting: list[tuple[int, Token]] = []
        self._bytes = self._characters = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def add(self, token_id: int, logprob: float, top: Sequence[tuple[int, float]] = ()) -> None:
        """Go on by a token."""
        first = not self._bytes
        text, raw = self._texts.of(token_id, first=first)
        likeliest = [(*self._texts.of(other, first=first), value) for other, value in top]
        token = Token(text, raw, logprob, likeliest, self._characters)
        self._waiting.append((self._bytes, token))
        self._bytes += len(raw)
        self._characters += len(self._decoder.decode(raw))

    def take(self, given: str, *, ended: bool = False) -> list[Token]:
        """Those that begin within what is given of the answer, and were not taken yet.

        Args:
            given: all of the answer's text so far.
            ended: it is whole, and nothing cut it: all of them.
        """
        size = len(given.encode(errors="replace"))
        count = len(self._waiting)
        if not ended:
            count = sum(start < size for start, _ in self._waiting)
        taken = [token for _, token in self._waiting[:count]]
        del self._waiting[:count]
        return taken


def label_token(label: str, logprob: float, classes: dict[str, float], top: int) -> Token:
    """The one token of a classifier's answer, with as many of its labels as were asked for."""
    best = sorted(classes.items(), key=lambda one: -one[1])[:top]
    likeliest = [(other, other.encode(), value) for other, value in best]
    return Token(label, label.encode(), logprob, likeliest, 0)


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, object]:
    """Tokens as a chat completion lists them."""
    content = [
        {
            **_one(token.text, token.raw, token.logprob),
            "top_logprobs": [_one(*other) for other in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def text_logprobs(tokens: Sequence[Token]) -> dict[str, object]:
    """Tokens as a completion lists them; offsets are of the answer's text."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_number(token.logprob) for token in tokens],
        "top_logprobs": [_by_text(token.top) for token in tokens],
        "text_offset": [token.start for token in tokens],
    }


def _by_text(top: Sequence[tuple[str, bytes, float]]) -> dict[str, float]:
    """Of those that spell the same, as halves of characters do, the likeliest."""
    found: dict[str, float] = {}
    for text, _, value in top:
        found.setdefault(text, _number(value))
    return found


def _one(text: str, raw: bytes, logprob: float) -> dict[str, object]:
    return {"token": text, "logprob": _number(logprob), "bytes": list(raw)}


def _number(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _UNLIKELY
