"""Small tokenizers in the manner of published ones; what tests of several parts share."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

SPECIAL = ["<pad>", "<bos>", "<eos>"]
UNK = {"unk_token": "<unk>"}
NAMED = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<pad>"}


def byte_level(*before: Any, add_prefix_space: bool = False) -> Tokenizer:
    """As of GPT-2, with merges of digits; `before` are pre-tokenizers that come first."""
    names = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "123", "Ġ1", "Ġ12"]
    merges = [("1", "2"), ("12", "3"), ("Ġ", "1"), ("Ġ", "12")]
    tokenizer = Tokenizer(models.BPE({name: n for n, name in enumerate(names)}, merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def sentencepiece(*, everywhere: bool) -> Tokenizer:
    """As of Llama 2: a blank before every stretch of text, or before the first alone."""
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abHi",
        "▁a",
    ]
    tokenizer = Tokenizer(
        models.BPE(
            {word: n for n, word in enumerate(words)},
            [("▁", "a")],
            **UNK,
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    if everywhere:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer
