"""What a token adds to a text, whatever kind of tokenizer it is of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from escalade.edge.generation import TokenTexts
from escalade.edge.generation.texts.token_texts import vocabulary_of

TEXT = "Hé 🎈 the end, the end"


def byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "Ġt", "Ġthe", "he"])}
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_fallback() -> Tokenizer:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁end", ",", "H", "▁"]
    vocabulary = [(piece, -1.0 - 0.01 * n) for n, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_the_bytes_of_all_tokens_are_the_texts(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    texts = TokenTexts(tokenizer)
    ids = tokenizer.encode(TEXT).ids
    found = [texts.of(one, first=place == 0) for place, one in enumerate(ids)]
    assert b"".join(raw for _, raw in found).decode() == tokenizer.decode(ids) == TEXT
    whole = [text for text, raw in found if text.encode() == raw]
    assert " the" in whole
    assert all("\ufffd" in text for text, raw in found if text.encode() != raw)


def test_a_special_token_adds_nothing() -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    assert TokenTexts(tokenizer).of(tokenizer.token_to_id("<end>")) == ("", b"")


def test_a_vocabulary_is_all_tokens_also_where_ids_have_gaps() -> None:
    whole, gapped = byte_level(), Tokenizer(models.WordLevel({"a": 0, "b": 5}, "a"))
    gapped.add_special_tokens(["<end>"])
    for tokenizer in (whole, gapped):
        assert set(vocabulary_of(tokenizer)) == set(tokenizer.get_vocab())
    assert sorted(vocabulary_of(whole)) == sorted(whole.get_vocab())
