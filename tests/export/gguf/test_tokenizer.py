"""A file's tokenizer is llama.cpp's, where transformers takes another rule of the same kind too."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest
from tokenizers import pre_tokenizers

from escalade.export.errors import ModelError
from escalade.export.gguf import end_ids, tokenizer_of

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here; make test-gguf")

END, BEGIN = "<eos>", "<bos>"
WORDS = [END, BEGIN, *sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "he", "hell"]
MERGES = ["1 2", "h e"]


def write(folder: Path, split: str, *, begins: bool = False, ends: bool = True) -> Path:
    """A tokenizer of bytes without a model; `hell` is a word that no merges make."""
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(WORDS)
    kinds = [
        gguf.TokenType.CONTROL if word in {END, BEGIN} else gguf.TokenType.NORMAL for word in WORDS
    ]
    writer.add_token_types(kinds)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    if ends:
        writer.add_eos_token_id(0)
    if begins:
        writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def ids(path: Path, text: str) -> list[int]:
    return list(tokenizer_of(path, len(WORDS))(text).input_ids)


def words(*text: str) -> list[int]:
    return [WORDS.index(word) for word in text]


def test_digits_that_stand_alone(tmp_path: Path) -> None:
    assert ids(write(tmp_path, "smollm"), "he12") == words("he", "1", "2")
    assert ids(write(tmp_path, "gpt-2"), "he12") == words("he", "12")


def test_a_beginning_that_a_file_does_not_name(tmp_path: Path) -> None:
    """llama.cpp begins all texts of this split so, and takes words as they are."""
    assert ids(write(tmp_path, "llama-bpe"), "hell") == words(BEGIN, "hell")
    assert ids(write(tmp_path, "gpt-2", begins=True), "hell") == words(BEGIN, "he", "l", "l")


def test_it_has_the_files_words_and_no_other(tmp_path: Path) -> None:
    """Classes of transformers bring `<|endoftext|>`, which no row of the model is for."""
    tokenizer = tokenizer_of(write(tmp_path, "gpt-2"), len(WORDS))
    assert sorted(tokenizer.get_vocab()) == sorted(WORDS)


def test_answers_end_where_llamacpp_ends_them(tmp_path: Path) -> None:
    assert end_ids(write(tmp_path, "gpt-2")) == [0]


def test_a_file_of_unknown_words_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "no-such-split")
    with pytest.raises(ModelError, match="cannot read its tokenizer") as caught:
        tokenizer_of(path, len(WORDS))
    assert "\n" not in str(caught.value)
