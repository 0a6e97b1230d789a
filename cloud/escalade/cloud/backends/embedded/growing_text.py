"""The text of a response while it grows, and how much of it is sure; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from escalade.v1.stop_text import find_stop, held_back

# What decoders put where bytes are no character, or not yet.
_REPLACEMENT = "\ufffd"


class Cut(NamedTuple):
    """A whole response, cut before its stop text where it has one."""

    text: str
    #: Tokens that lie wholly before the cut.
    token_count: int


class GrowingText:
    """Tokens in, text out; text that may yet change or be cut off is held back.

    Characters may take several tokens, and what a token means may depend on those before it.
    So the last tokens that made text are decoded again with each new one, as
    text-generation-inference does it (`decode_token` in server/models/model.py).

    Args:
        decode: token ids to text.
        stops: texts that end the response, of at least 1 character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = stops
        self._ids: list[int] = []
        self._text = ""
        # For each token whose meaning the text holds, where in the text it ends.
        self._ends: list[int] = []
        # Ids from `_context` on are decoded; those before `_read` are in the text.
        self._context = self._read = 0
        self._context_text = ""
        self._sure = self._taken_tokens = self._taken = 0
        #: Whether a stop text has come up; nothing comes after it.
        self.stopped = False

    def add(self, token: int) -> None:
        """Go on by a token."""
        self._ids.append(token)
        window = self._decode(self._ids[self._context :])
        if len(window) <= len(self._context_text) or window.endswith(_REPLACEMENT):
            return  # half of a character, or a token that is no text
        self._text += window[len(self._context_text) :]
        self._ends += [len(self._text)] * (len(self._ids) - len(self._ends))
        self._context, self._read = self._read, len(self._ids)
        self._context_text = self._decode(self._ids[self._context :])
        waiting = self._text[self._sure :]
        at = find_stop(waiting, self._stops)
        self.stopped = at is not None
        self._sure += len(waiting) - held_back(waiting, self._stops) if at is None else at

    def take(self) -> tuple[slice, str]:
        """Which tokens, and what text, have become sure since the last time."""
        first = self._taken_tokens
        while self._taken_tokens < len(self._ends) and self._ends[self._taken_tokens] <= self._sure:
            self._taken_tokens += 1
        text = self._text[self._taken : self._sure]
        self._taken = self._sure
        return slice(first, self._taken_tokens), text

    def end(self) -> Cut:
        """The response, once it has ended: what all tokens mean together, up to the stop text.

        A stop text may begin inside a token; the text is cut there, and that token goes.
        """
        whole = self._decode(self._ids)
        at = find_stop(whole, self._stops)
        if at is not None:
            self.stopped = True
            kept = whole[:at]
        elif self.stopped:
            # Bytes that are no UTF-8: what came after them has changed what they became.
            kept = self._text[: self._sure]
        else:
            return Cut(whole, len(self._ids))
        count = len(self._ids)
        while count > self._taken_tokens and not kept.startswith(self._decode(self._ids[:count])):
            count -= 1
        return Cut(kept, count)
