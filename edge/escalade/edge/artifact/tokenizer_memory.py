"""How much memory a tokenizer.json takes, said before it is parsed; loads no tokenizer.

It depends on what stands in it, not on its length alone: a byte of a piece of a Unigram model
becomes a node of a trie (340 bytes), a byte of a regular expression a part of the table of all
letters (3 KB), `[]` an object of Python. Counted here are the bytes and what separates JSON's
values; each part has the factor of the worst that was found for it.

Measured as growth of VmHWM on files of 1 to 6 MB that hold nothing but one of: empty lists and
objects, numbers, short strings, one character beyond the BMP; vocabularies, merges (as texts and
as pairs), pieces, added tokens, rules (tokenizers 0.22, CPython 3.11, x86-64).
`tests/edge/artifact/test_tokenizer_memory.py` measures them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from escalade.edge.artifact.integrity import read_bounded
from escalade.edge.errors import ArtifactError

_MARKS = b",", b":", b"[", b"{"
# Python's json, for the fingerprint: 12 for text of four bytes a character, as str, chunk, whole
# and UTF-8; then 64 for each value, at most 60 of them found with `{"":0},`.
_PARSED_PER_BYTE, _PARSED_PER_MARK = 14, 64
# tokenizers, of a vocabulary or its merges: at most 53 a byte, found with `["a","b"],`.
_HELD_PER_BYTE, _HELD_PER_MARK = 10, 160
# A Unigram model's trie has a table of its own in each node: 341 found with random pieces.
_HELD_PER_PIECE_BYTE = 352
# Automata over all added tokens: 80 found with random ones of 200 letters.
_HELD_PER_ADDED_BYTE = 128
# Normalizer, pre-tokenizer, decoder: 2,900 found with `(?i)` and sharp s, 2,550 with `\p{L}|`.
_HELD_PER_RULE_BYTE = 4096
# A table of characters, not a rule; base64.
_CHARSMAP = "precompiled_charsmap"

_RULES = "normalizer", "pre_tokenizer", "post_processor", "decoder"

_Parts = dict[str, msgspec.Raw]


def tokenizer_memory_at_least(size: int) -> int:
    """What a file of so many bytes takes whatever is in it."""
    return (_PARSED_PER_BYTE + _HELD_PER_BYTE) * size


def tokenizer_memory(path: Path, size: int) -> int:
    """Bound what a process grows by when it fingerprints a tokenizer.json and loads it, in bytes.

    Holds the file itself once, which `tokenizer_memory_at_least` covers.

    Args:
        path: the file.
        size: that it may have at most.

    Raises:
        ArtifactError: it is missing, longer, or no JSON object.
    """
    raw = read_bounded(path, size)
    marks = sum(raw.count(mark) for mark in _MARKS)
    try:
        parts = msgspec.json.decode(raw, type=_Parts)
        model = msgspec.json.decode(parts.get("model", b"{}"), type=_Parts)
        added = len(bytes(parts.get("added_tokens", b"")))
        charsmap = _charsmap(msgspec.json.decode(parts.get("normalizer", b"null")))
        pieces = _pieces(bytes(model.get("vocab", b"{}")))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a tokenizer.json: {error}") from error
    rules = sum(_lengths(parts, _RULES)) - charsmap
    # Between the parts; and what stands under a name twice, of which one is among them.
    between = len(raw) - sum(_lengths(parts, parts)) + sum(_lengths(parts, ["model"]))
    between -= sum(_lengths(model, model))
    return (
        (_PARSED_PER_BYTE + _HELD_PER_BYTE) * len(raw)
        + (_PARSED_PER_MARK + _HELD_PER_MARK) * marks
        + _HELD_PER_PIECE_BYTE * pieces
        + _HELD_PER_ADDED_BYTE * added
        + _HELD_PER_RULE_BYTE * (rules + between)
    )


def _lengths(parts: _Parts, names: Iterable[str]) -> Iterator[int]:
    return (len(bytes(parts[name])) for name in names if name in parts)


def _pieces(vocabulary: bytes) -> int:
    """Bytes of the pieces of a Unigram model: its vocabulary is a list, all others' an object."""
    if vocabulary.startswith(b"{"):
        return 0
    try:
        pieces = msgspec.json.decode(vocabulary, type=list[tuple[str, float]])
    except msgspec.ValidationError:
        return len(vocabulary)
    return sum(len(piece.encode()) for piece, _ in pieces)


def _charsmap(rule: object) -> int:
    if isinstance(rule, list):
        return sum(map(_charsmap, rule))
    if not isinstance(rule, dict):
        return 0
    own = rule.get(_CHARSMAP)
    return (len(own) if isinstance(own, str) else 0) + sum(map(_charsmap, rule.values()))
