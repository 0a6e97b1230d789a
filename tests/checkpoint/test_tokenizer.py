"""One tokenizer for export, server and training: what a folder says of it is heeded or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_tokenizers import NAMED, byte_level, sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from escalade.checkpoint import (
    CheckpointError,
    check_vocabulary,
    load_tokenizer,
    tokenizer_fingerprint,
    tokenizer_json,
)
from escalade.v1.identity import tokenizer_fingerprint as fingerprint_of_file

Folder = Callable[..., Path]
DIGITS = pre_tokenizers.Digits(individual_digits=True)
TEXTS = ["Hi 123 there", " a  b1 12", "a</s>a  b", "<turn>Hi<end> <eos>a", "x <end>\n"]
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


def ids_on_the_device(folder: Path) -> list[list[int]]:
    """What the file that export would ship makes of the texts, and nothing else."""
    shipped = Tokenizer.from_str(tokenizer_json(load_tokenizer(folder)))
    return [shipped.encode(text).ids for text in TEXTS]


def ids_by_the_loader(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder)
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def ids_by_transformers(folder: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def ids_by_the_file(folder: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in TEXTS]


def two_added(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<turn>": 263, "<end>": 264}))


def one_in_the_map(folder: Path) -> None:
    token = {"content": "<turn>", **FLAGS, "lstrip": True}
    content = {"bos_token": "<bos>", "additional_special_tokens": ["<end>"], "mask_token": token}
    (folder / "special_tokens_map.json").write_text(json.dumps(content))


BESIDE_THE_FILE: dict[str, tuple[dict[str, Any], Callable[[Path], None]]] = {
    "added_tokens_decoder": (
        {
            "added_tokens_decoder": {
                "263": {"content": "<turn>", "special": True, **FLAGS},
                "264": {"content": "<end>", "special": False, **FLAGS, "rstrip": True},
            }
        },
        lambda folder: None,
    ),
    "added_tokens.json": ({}, two_added),
    "special_tokens_map.json": ({}, one_in_the_map),
    "additional_special_tokens": (
        {"additional_special_tokens": ["<end>", "<turn>"]},
        lambda folder: None,
    ),
    "extra_special_tokens": ({"extra_special_tokens": ["<turn>", "<end>"]}, lambda folder: None),
    "a token of its own name": ({"turn_token": "<turn>"}, lambda folder: None),
}


@pytest.mark.parametrize("case", BESIDE_THE_FILE)
@pytest.mark.parametrize("class_", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_tokens_beside_the_file_reach_the_device(case: str, class_: str, folder_of: Folder) -> None:
    settings, add = BESIDE_THE_FILE[case]
    folder = folder_of(byte_level(), tokenizer_class=class_, **NAMED, **settings)
    add(folder)
    right = ids_by_transformers(folder)
    assert right != ids_by_the_file(folder)
    assert ids_on_the_device(folder) == ids_by_the_loader(folder) == right


@pytest.mark.parametrize(
    ("tokenizer", "settings"),
    [
        (byte_level(), {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, **NAMED}),
        (byte_level(), {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, **NAMED}),
        (
            byte_level(add_prefix_space=True),
            {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **NAMED},
        ),
        (sentencepiece(everywhere=False), {"tokenizer_class": "LlamaTokenizer", "legacy": True}),
        (
            sentencepiece(everywhere=False),
            {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False},
        ),
    ],
)
def test_a_setting_of_a_class_that_reads_the_file_reaches_the_device(
    tokenizer: Tokenizer, settings: dict[str, Any], folder_of: Folder
) -> None:
    folder = folder_of(tokenizer, **settings)
    right = ids_by_transformers(folder)
    assert right != ids_by_the_file(folder)
    assert ids_on_the_device(folder) == ids_by_the_loader(folder) == right


@pytest.mark.parametrize(
    ("tokenizer", "model_type", "settings"),
    [
        (byte_level(), "qwen2", NAMED),
        (byte_level(DIGITS), "llama", {"tokenizer_class": "GPT2Tokenizer", **NAMED}),
        (
            byte_level(DIGITS),
            "llama",
            {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **NAMED},
        ),
        (byte_level(), "llama", {"tokenizer_class": "RobertaTokenizer", **NAMED}),
        (byte_level(), "gemma", NAMED),
        (byte_level(), "llama", {"tokenizer_class": "CodeLlamaTokenizer", **NAMED}),
        (sentencepiece(everywhere=True), "llama", {"tokenizer_class": "LlamaTokenizer"}),
        (
            sentencepiece(everywhere=True),
            "llama",
            {"tokenizer_class": "LlamaTokenizer", "legacy": False},
        ),
    ],
)
def test_what_a_class_drops_of_the_file_is_read_all_the_same(
    tokenizer: Tokenizer, model_type: str, settings: dict[str, Any], folder_of: Folder
) -> None:
    folder = folder_of(tokenizer, model_type, **settings)
    right = ids_by_the_file(folder)
    assert right != ids_by_transformers(folder)
    assert ids_on_the_device(folder) == ids_by_the_loader(folder) == right


def test_a_setting_that_the_file_says_already_is_taken(folder_of: Folder) -> None:
    folder = folder_of(
        sentencepiece(everywhere=True), tokenizer_class="LlamaTokenizer", legacy=True
    )
    assert ids_on_the_device(folder) == ids_by_the_loader(folder) == ids_by_the_file(folder)


@pytest.mark.parametrize(
    ("tokenizer", "settings", "names"),
    [
        (
            byte_level(DIGITS),
            {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, **NAMED},
            "add_prefix_space of GPT2Tokenizer",
        ),
        (
            sentencepiece(everywhere=True),
            {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False},
            "add_prefix_space of LlamaTokenizer",
        ),
        (byte_level(), {"split_special_tokens": True, **NAMED}, "split_special_tokens must be"),
        (
            byte_level(),
            {"added_tokens_decoder": {"300": {"content": "<turn>", "special": True, **FLAGS}}},
            "gives the token '<turn>' the id 300, but it has 263",
        ),
        (
            byte_level(),
            {"sp_model_kwargs": {"enable_sampling": True, "alpha": 0.1}},
            "sp_model_kwargs.enable_sampling must be false, got true",
        ),
    ],
)
def test_what_no_file_can_say_is_refused_by_name(
    tokenizer: Tokenizer, settings: dict[str, Any], names: str, folder_of: Folder
) -> None:
    with pytest.raises(CheckpointError, match=names) as refused:
        load_tokenizer(folder_of(tokenizer, **settings))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("class_", ["PreTrainedTokenizerFast", "GPT2Tokenizer"])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_dropout_is_refused_whatever_the_class_makes_of_it(
    class_: str, share: float, folder_of: Folder
) -> None:
    tokenizer = byte_level()
    tokenizer.model.dropout = share
    folder = folder_of(tokenizer, tokenizer_class=class_, **NAMED)
    with pytest.raises(CheckpointError, match=rf"tokenizer.json: model.dropout .* got {share}"):
        load_tokenizer(folder)


def test_a_file_that_says_all_keeps_its_fingerprint(
    folder_of: Folder, tiny_model_dir: Path
) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    fingerprint = fingerprint_of_file(tiny_model_dir / "tokenizer.json")
    assert tokenizer_fingerprint(tokenizer, "here") == fingerprint


def test_what_is_saved_again_is_the_same_tokenizer(folder_of: Folder, tmp_path: Path) -> None:
    # As training does it, for a family whose class reads no file.
    folder = folder_of(byte_level(DIGITS), "qwen2", extra_special_tokens=["<turn>"], **NAMED)
    before = load_tokenizer(folder)
    again = tmp_path / "again"
    before.save_pretrained(again)
    (again / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    after = load_tokenizer(again)
    assert tokenizer_fingerprint(before, "") == tokenizer_fingerprint(after, "")
    assert before.special_tokens_map == after.special_tokens_map
    assert ids_by_the_loader(folder) == ids_by_the_loader(again)


@pytest.mark.parametrize(
    ("class_", "model_type"),
    [
        ("BertTokenizer", "bert"), ("RobertaTokenizer", "roberta"), ("LlamaTokenizer", "llama"),
        ("GPT2Tokenizer", "gpt2"), ("Qwen2Tokenizer", "qwen2"), ("T5Tokenizer", "t5"),
        ("GPTNeoXTokenizer", "gpt_neox"),
    ],
)  # fmt: skip
def test_what_a_class_makes_up_without_a_file_is_no_tokenizer(
    class_: str, model_type: str, folder_of: Folder
) -> None:
    folder = folder_of(byte_level(), model_type, tokenizer_class=class_)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokens but special ones: tokenizer\.json is"):
        load_tokenizer(folder)


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(folder_of: Folder) -> None:
    tokenizer = load_tokenizer(folder_of(byte_level(), extra_special_tokens=["<turn>"], **NAMED))
    check_vocabulary(tokenizer, 264, "here")
    with pytest.raises(CheckpointError, match="here: its tokenizer has 264 tokens, .* only 263"):
        check_vocabulary(tokenizer, 263, "here")


TALK = [{"role": "user", "content": "Hi"}]
TEMPLATE = (
    "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}{{ unk_token }}"
    "{{ turn_token }}{{ image_token }}{{ sep_token }}"
)


def in_the_map(folder: Path) -> None:
    content = {"bos_token": "<bos>", "eos_token": {"content": "<eos>", **FLAGS}}
    (folder / "special_tokens_map.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("settings", "add"),
    [
        (NAMED, None),
        ({}, in_the_map),
        ({**NAMED, "bos_token": {"__type": "AddedToken", "content": "<bos>", **FLAGS}}, None),
        ({"turn_token": "<eos>", "eos_token": "<eos>"}, None),
        ({"extra_special_tokens": {"image_token": "<bos>"}}, None),
        ({"tokenizer_class": "GPT2Tokenizer"}, None),
        ({"tokenizer_class": "RobertaTokenizer", **NAMED}, None),
    ],
)
def test_templates_find_the_special_tokens_that_transformers_passes(
    settings: dict[str, Any], add: Callable[[Path], None] | None, folder_of: Folder
) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<|endoftext|>", "<s>", "</s>", "<unk>"])
    folder = folder_of(tokenizer, chat_template=TEMPLATE, **settings)
    if add is not None:
        add(folder)
    right, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    assert right.apply_chat_template(TALK, tokenize=False) == ours.apply_chat_template(
        TALK, tokenize=False
    )
    known = {
        name: token
        for name, token in right.special_tokens_map.items()
        if tokenizer.token_to_id(token) is not None
    }
    assert ours.special_tokens_map.items() >= known.items()


UNK = {"unk_token": "<unk>"}
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "we", "do", "n't", ",", "no", ".", "'s", "it", "'"]


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({w: n for n, w in enumerate(WORDS)}, **UNK))
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer


def wordlevel() -> Tokenizer:
    return Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, **UNK))


def unigram() -> Tokenizer:
    pieces = [(word if word[0] == "<" else f"▁{word}", -1.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


@pytest.mark.parametrize("make", [wordpiece, wordlevel, unigram, byte_level])
@pytest.mark.parametrize("cleans", [True, False])
def test_blanks_are_cleaned_up_where_transformers_does_it(
    make: Callable[[], Tokenizer], cleans: bool, folder_of: Folder
) -> None:
    tokenizer = make()
    if make is not byte_level:
        tokenizer.pre_tokenizer = (
            pre_tokenizers.Metaspace() if make is unigram else pre_tokenizers.WhitespaceSplit()
        )
        tokenizer.add_special_tokens(WORDS[:4])
    folder = folder_of(tokenizer, clean_up_tokenization_spaces=cleans, **NAMED)
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = load_tokenizer(folder)
    shipped = Tokenizer.from_str(tokenizer_json(ours))
    for text in ("we do n't , no .", "it 's ' we ' do", "no <bos> , it <eos> ."):
        ids = theirs(text)["input_ids"]
        for skip in (True, False):
            right = theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == right
            assert shipped.decode(ids, skip_special_tokens=skip) == right
