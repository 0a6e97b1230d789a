"""Texts that tell tokenizers apart, and what one makes of them; knows no folder, no settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

# Where normalizers, pre-tokenizers and decoders differ: blanks, case, digits, contractions, marks,
# accents composed and not, scripts without blanks, several code points for one sign, controls.
_TEXTS = (
    "Hello world",
    " Hello  world ",
    "hello\tworld\n\n  next line\r\n",
    "It's we'll DON'T I'm you've; they're: (a) [b] {c} <d> 'e' \"f\"!?",
    "0 7 42 1234 20261126 3.14159 1,000,000 x2 y_10 a1b2c3",
    "camelCase snake_case kebab-case path/to/file.py a@b.org #tag $5 50% ~x ^y |z| \\n",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m na\u00efve STRASSE stra\u00dfe \ufb01n \u2126 \u00bd",
    "\u4f60\u597d\u4e16\u754c \u65e5\u672c\u8a9e\u306e\u6587 \ud55c\uad6d\uc5b4 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f642 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \u2764\ufe0f",
    "\u2581under \u2581 ##word Gpt\u0120x \u00a0nbsp\u2003em\u200bzero\ufeff",
    "def f(x):\n    return x ** 2  # done\n",
    "we do n't , no . it 's so !",
)
# Of the vocabulary itself: what a tokenizer of few words makes of other words shows little.
_SAMPLED_TOKENS, _TOKENS_OF_A_TEXT = 240, 12


class Reading(NamedTuple):
    """What a tokenizer makes of a text: its ids, and the text of those ids."""

    ids: tuple[int, ...] | str
    text: str


def probing_texts(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Texts of all kinds, of the vocabulary's own pieces, and around added tokens."""
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    sample = [token for token, _ in by_id][:: max(1, len(by_id) // _SAMPLED_TOKENS)]
    own = [
        joint.join(sample[start : start + _TOKENS_OF_A_TEXT])
        for start in range(0, len(sample), _TOKENS_OF_A_TEXT)
        for joint in ("", " ")
    ]
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    around = [
        text
        for token in added[:: max(1, len(added) // _SAMPLED_TOKENS)]
        for text in (token, f"a {token} b", f"A{token}b {token}")
    ]
    return [*_TEXTS, *own, *around]


def read(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Reading]:
    """What it makes of each text; where it cannot, what it says instead of ids."""
    readings = []
    for text in texts:
        try:
            ids = tokenizer(text)["input_ids"]
            shown = str(tokenizer.decode(ids, skip_special_tokens=True))
        except Exception as error:  # tokenizers raises bare Exception
            readings.append(Reading(str(error), ""))
        else:
            readings.append(Reading(tuple(ids), shown))
    return readings


def unlike(some: Sequence[Reading], others: Sequence[Reading]) -> int:
    """How many texts two tokenizers read differently."""
    return sum(one != other for one, other in zip(some, others, strict=True))
