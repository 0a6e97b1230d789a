"""Hides parts of texts before they are sent, and puts them back in the answer; knows no tier.

What is hidden becomes a placeholder, `[HIDDEN_1]`; the same words become the same one wherever they
stand in a query. A model that repeats a placeholder has it filled in each time, one that drops it
has nothing to fill in, and one that writes it otherwise keeps what it wrote: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from escalade.edge.base import Clock
from escalade.edge.policy.patterns import Patterns, Span, UnreadableError
from escalade.edge.policy.providers import Redaction

_WORD = "HIDDEN"


class RedactionError(Exception):
    """What is to be hidden could not be found out, so that nothing may be sent."""


class Redactor:
    """Finds what is to be hidden, by expressions and by a hook."""

    def __init__(self, patterns: Patterns, hook: Redaction | None, clock: Clock) -> None:
        self._patterns, self._hook, self._clock = patterns, hook, clock

    def __bool__(self) -> bool:
        """Whether anything is ever hidden."""
        return bool(self._patterns) or self._hook is not None

    def hide(self, texts: Sequence[str]) -> Hidden:
        """Look through all that one query sends.

        Raises:
            RedactionError: a text cannot be looked through, or the hook fails or gives no spans.
        """
        return Hidden(texts, [self._spans(text) for text in texts])

    def _spans(self, text: str) -> list[Span]:
        try:
            found = list(self._patterns.spans(text, self._clock.now_s))
        except UnreadableError as error:
            raise RedactionError(str(error)) from error
        if self._hook is not None:
            found += _spans_of(self._hook, text)
        return _merged(found)


class Hidden:
    """One query's texts with parts hidden, and what these were."""

    def __init__(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> None:
        self._placeholders: dict[str, str] = {}
        word = _WORD
        # Nothing that stands there by itself is taken for a placeholder.
        while any(f"[{word}_" in text for text in texts):
            word += "_"
        self._word = word
        #: In the order of those given.
        self.texts = [self._written(*both) for both in zip(texts, spans, strict=True)]
        self._given = tuple(texts)

    @property
    def changed(self) -> bool:
        """Whether anything is hidden."""
        return bool(self._placeholders)

    def is_in(self, text: str) -> bool:
        """Whether a text holds any of what is hidden."""
        return any(original in text for original in self._placeholders)

    def restore(self, text: str) -> str:
        """The text with what is hidden put back, in one pass: an original is not read again."""
        if not self._placeholders:
            return text
        originals = {placeholder: original for original, placeholder in self._placeholders.items()}
        known = re.compile("|".join(map(re.escape, originals)))  # plain words: nothing backtracks
        return known.sub(lambda found: originals[found[0]], text)

    def _written(self, text: str, spans: Sequence[Span]) -> str:
        parts, end = [], 0
        for start, stop in spans:
            parts += [text[end:start], self._placeholder(text[start:stop])]
            end = stop
        return "".join([*parts, text[end:]])

    def _placeholder(self, original: str) -> str:
        return self._placeholders.setdefault(
            original, f"[{self._word}_{len(self._placeholders) + 1}]"
        )


def _spans_of(hook: Callable[[str], Iterable[Span]], text: str) -> list[Span]:
    try:
        found = [(int(start), int(stop)) for start, stop in hook(text)]
    except Exception as error:  # somebody else's code: whatever it raises, nothing is sent
        raise RedactionError(f"the redaction hook failed: {type(error).__name__}") from error
    for start, stop in found:
        if not 0 <= start <= stop <= len(text):
            raise RedactionError(
                f"the redaction hook gave ({start}, {stop}); spans are within 0..{len(text)}"
            )
    return [one for one in found if one[0] < one[1]]


def _merged(spans: Sequence[Span]) -> list[Span]:
    """In order, those that meet as one."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged
