"""What one token adds to a text, and its bytes: part of a character, perhaps; knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

# A token of byte fallback, as sentencepiece writes it.
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
# Within a text many tokenizers begin a word with a space that its beginning does not have.
_BEFORE = "a"


def vocabulary_of(tokenizer: Tokenizer) -> Iterator[str]:
    """Each token as the vocabulary spells it; no order.

    One by one: all at once SmolLM2's took 3 MB that did not come back.
    """
    for number in range(tokenizer.get_vocab_size()):
        token = tokenizer.id_to_token(number)
        if token is None:  # ids with gaps
            yield from tokenizer.get_vocab()
            return
        yield token


class TokenTexts:
    """What the tokens of a tokenizer add to a text; each is looked up once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = {
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        decoder = b"" if tokenizer.decoder is None else tokenizer.decoder.__getstate__()
        self._of_bytes = b'"ByteLevel"' in decoder
        self._falls_back = b'"ByteFallback"' in decoder
        self._before: list[int] = tokenizer.encode(_BEFORE, add_special_tokens=False).ids
        self._start = len(self._decoded(self._before))
        self._known: dict[tuple[int, bool], tuple[str, bytes]] = {}

    def of(self, token_id: int, *, first: bool = False) -> tuple[str, bytes]:
        """A token's text and bytes; none of a special token, and replacements for half a character.

        Args:
            token_id: in the vocabulary.
            first: whether the text begins with it.
        """
        key = token_id, first
        if key not in self._known:
            self._known[key] = self._look_up(token_id, first=first)
        return self._known[key]

    def _look_up(self, token_id: int, *, first: bool) -> tuple[str, bytes]:
        if token_id in self._special:
            return "", b""
        token = self._tokenizer.id_to_token(token_id) or ""
        raw = None
        if self._of_bytes and all(character in _BYTES for character in token):
            raw = bytes(_BYTES[character] for character in token)
        elif self._falls_back and (one := _BYTE.fullmatch(token)):
            raw = bytes.fromhex(one[1])
        if raw is not None:
            return raw.decode(errors="replace"), raw
        if first:
            text = self._decoded([token_id])
        else:
            text = self._decoded([*self._before, token_id])[self._start :]
        return text, text.encode(errors="replace")

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


def _alphabet() -> dict[str, int]:
    """The byte of each character of GPT-2's alphabet.

    Printable bytes stand for themselves and the others for characters from 256 on, in order, as
    GPT-2's `bytes_to_unicode` has it.
    """
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in itself]
    found = {chr(byte): byte for byte in itself}
    found.update({chr(256 + place): byte for place, byte in enumerate(others)})
    assert set(found) == set(ByteLevel.alphabet())  # noqa: S101 - or tokenizers has another
    return found


_BYTES = _alphabet()
