"""How large a prompt's text may be before anybody reads it; knows no tokenizer, no message.

Device and server bound it alike, so that one does not send what the other refuses.
"""

from __future__ import annotations

from collections.abc import Iterable

#: A text of so many bytes is tokenized whatever the window, which takes some 60 ms: some
#: tokenizers drop characters, or make one token of any unknown word, and then a text may have more
#: bytes than its tokens.
ALWAYS_TOKENIZED_BYTES = 1 << 16


def longest_token_bytes(vocabulary: Iterable[str]) -> int:
    """Bytes of the longest token as the vocabulary spells it, in UTF-8; at least what it means.

    Byte-level vocabularies spell a byte with a character of 1 or 2, SentencePiece's a blank with 3.
    """
    return max((len(token.encode()) for token in vocabulary), default=0)


def most_prompt_bytes(window: int, longest_token: int) -> int:
    """The largest text that can fit a window: its tokens, were each the longest.

    A larger one has more tokens than fit, unless its tokenizer drops or folds what it has more
    (blanks, fullwidth letters); it is refused all the same.

    Args:
        window: tokens.
        longest_token: see `longest_token_bytes`.
    """
    return max(ALWAYS_TOKENIZED_BYTES, window * longest_token)


def exceeds(text: str, most_bytes: int) -> bool:
    """Whether a text has more bytes in UTF-8, which are counted only where that is not plain."""
    if len(text) > most_bytes:
        return True
    # UTF-8 takes at most 4 bytes a character.
    return 4 * len(text) > most_bytes and len(text.encode()) > most_bytes
