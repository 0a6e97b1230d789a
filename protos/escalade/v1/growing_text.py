"""The text of a response while it grows, on the device as on a server; knows no model.

Special tokens are no text, and a reader sees none of them. A stop text may spell them all the same,
or a part of one: it is looked for in what the tokens spell, special ones included, as transformers'
`generate(stop_strings=...)` does it. What was generated before it is the response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from escalade.v1.stop_text import find_stop, held_back

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Decode = Callable[[Sequence[int]], str]
#: What a special token spells; None of any other.
Spell = Callable[[int], "str | None"]

# What decoders put where bytes are no character, or not yet.
_REPLACEMENT = "\ufffd"
# What transformers puts before a token to see what it spells within a text
# (`StopStringCriteria.clean_tokenizer_vocab`).
_BEFORE = "abcdef"


class Cut(NamedTuple):
    """A whole response, cut before its stop text where it has one."""

    text: str
    #: Tokens that lie wholly before the cut.
    token_count: int
    #: What of its text had not been taken; where bytes are no UTF-8, it may replace what had.
    rest: str


class GrowingText:
    """Tokens in, text out; text that may yet change or be cut off is held back.

    Characters may take several tokens, and what a token means may depend on those before it.
    So the last tokens that made text are decoded again with each new one, as
    text-generation-inference does it (`decode_token` in server/models/model.py).

    Bytes that are no UTF-8 may turn a character that was given into replacement characters. What is
    given then goes on with what replaced it; `end` has the text that all tokens make together.

    Args:
        decode: token ids to text, special tokens left out.
        stops: texts that end the response, of at least 1 character.
        spell: what a special token spells; asked only where there are stop texts.
    """

    def __init__(
        self, decode: Decode, stops: Sequence[str] = (), spell: Spell = lambda token: None
    ) -> None:
        self._decode = decode
        self._stops = stops
        self._spell = spell
        self._ids: list[int] = []
        # Those that are text. From `_context` on they are decoded; those before `_read` are known.
        self._plain: list[int] = []
        self._context = self._read = 0
        self._context_text = ""
        #: What they mean, as far as it is known.
        self._text = ""
        # What all tokens spell, and what a later token revoked; and where special ones stand in it.
        self._spelled = ""
        self._hidden: list[tuple[int, int]] = []
        # The same, for the text in its last form: where in it, and what.
        self._marks: list[tuple[int, str]] = []
        # For each token whose meaning is known, where in `_spelled` it ends.
        self._ends: list[int] = []
        self._sure = self._taken_tokens = self._taken = 0
        #: Whether a stop text has come up; nothing comes after it.
        self.stopped = False

    def add(self, token: int) -> None:
        """Go on by a token."""
        self._ids.append(token)
        special = self._spell(token) if self._stops else None
        if special is None:
            self._plain.append(token)
            if not self._read_on():
                return  # half of a character, or a token that is no text
        elif special:
            self._read_on(ended=True)  # half of a character before it stays half
            self._hidden.append((len(self._spelled), len(self._spelled) + len(special)))
            self._marks.append((len(self._text), special))
            self._spelled += special
        self._ends += [len(self._spelled)] * (len(self._ids) - len(self._ends))
        self._find()

    def hold(self, token: int) -> None:
        """Go on by a token whose text nobody takes yet; not where a stop text may end it."""
        self._ids.append(token)
        self._plain.append(token)

    def take(self) -> tuple[slice, str]:
        """Which tokens, and what text, have become sure since the last time."""
        first = self._taken_tokens
        while self._taken_tokens < len(self._ends) and self._ends[self._taken_tokens] <= self._sure:
            self._taken_tokens += 1
        text = self._shown(self._taken, self._sure)
        self._taken = self._sure
        return slice(first, self._taken_tokens), text

    def end(self) -> Cut:
        """The response, once it has ended: what all tokens mean together, up to the stop text.

        A stop text may begin inside a token; the text is cut there, and that token goes.
        """
        if not self.stopped:
            # The decoder still waits for the rest of a character that will not come.
            self._revise(self._decode(self._plain))
            self._find()
            if not self.stopped:
                self._sure = len(self._spelled)
        rest = self._shown(self._taken, self._sure)
        whole = self._decode(self._plain)
        spelled, hidden = _inserted(whole, self._marks)
        at = find_stop(spelled, self._stops)
        if at is not None:
            self.stopped = True
            before, text = spelled[:at], _without(spelled[:at], hidden)
        elif self.stopped:
            # Bytes that are no UTF-8: what came after them has changed what they became.
            before, text = self._spelled[: self._sure], self._shown(0, self._sure)
        else:
            return Cut(whole, len(self._ids), rest)
        count = len(self._ids)
        while count > self._taken_tokens and not before.startswith(self._spelled_by(count)):
            count -= 1
        return Cut(text, count, rest)

    def _read_on(self, *, ended: bool = False) -> bool:
        """Decode the last tokens; False where they say no more than before.

        Args:
            ended: whether half of a character is taken for what it is.
        """
        window = self._decode(self._plain[self._context :])
        if len(window) <= len(self._context_text):
            return False
        if window.endswith(_REPLACEMENT) and not ended:
            return False
        if window.startswith(self._context_text):
            more = window[len(self._context_text) :]
            self._text += more
            self._spelled += more
            self._context, self._read = self._read, len(self._plain)
        else:
            # The token changed what earlier ones had become: bytes that are no UTF-8.
            self._revise(self._decode(self._plain))
            self._context, self._read = 0, len(self._plain)
        self._context_text = self._decode(self._plain[self._context :])
        return True

    def _revise(self, whole: str) -> None:
        """Take what all tokens mean together; give what of it differs from what they meant."""
        both = zip(self._text, whole, strict=False)
        same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], both))
        self._spelled += whole[same:]
        self._text = whole

    def _find(self) -> None:
        waiting = self._spelled[self._sure :]
        at = find_stop(waiting, self._stops)
        self.stopped = at is not None
        self._sure += len(waiting) - held_back(waiting, self._stops) if at is None else at

    def _shown(self, start: int, end: int) -> str:
        """What a reader sees of a part of `_spelled`."""
        hidden = [(low - start, high - start) for low, high in self._hidden if high > start]
        return _without(self._spelled[start:end], hidden)

    def _spelled_by(self, count: int) -> str:
        """What the first tokens spell by themselves."""
        ids = self._ids[:count]
        if not self._marks:
            return self._decode(ids)
        special = [token for token in ids if self._spell(token) is not None]
        plain = [token for token in ids if self._spell(token) is None]
        return _inserted(self._decode(plain), self._marks[: len(special)])[0]


def speller(tokenizer: Tokenizer) -> Spell:
    """What a tokenizer's special tokens spell within a text, asked of each token once."""
    known: dict[int, str | None] = {}

    def decode(ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        text: str = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def spell(token: int) -> str | None:
        if token not in known:
            alone = decode([token], skip_special_tokens=False)
            if alone == decode([token], skip_special_tokens=True):
                known[token] = None
            else:
                before = tokenizer.encode(_BEFORE, add_special_tokens=False).ids
                start = len(decode(before, skip_special_tokens=False))
                known[token] = decode([*before, token], skip_special_tokens=False)[start:]
        return known[token]

    return spell


def _inserted(text: str, marks: Sequence[tuple[int, str]]) -> tuple[str, list[tuple[int, int]]]:
    """A text with what stands at places in it, and where in the whole that is."""
    parts, hidden, done, length = [], [], 0, 0
    for at, mark in marks:
        parts += [text[done:at], mark]
        start = length + max(0, min(at, len(text)) - done)
        length = start + len(mark)
        hidden.append((start, length))
        done = max(done, at)
    return "".join([*parts, text[done:]]), hidden


def _without(text: str, hidden: Sequence[tuple[int, int]]) -> str:
    """A text without some parts of it, given in order."""
    parts, done = [], 0
    for start, end in hidden:
        parts.append(text[done : max(done, start)])
        done = max(done, end)
    return "".join([*parts, text[done:]])
