"""What a GGUF file says, and the files that are refused in a line; no llama.cpp is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from escalade.export.errors import ModelError
from escalade.export.gguf import read_gguf

Change = Callable[[gguf.GGUFWriter], None]


def write(
    path: Path, *changes: Change, architecture: str = "llama", tokenizer: str | None = "gpt2"
) -> Path:
    """A model of no use: two matrices, one of them rounded."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    if tokenizer is not None:
        writer.add_tokenizer_model(tokenizer)
        writer.add_token_list(["a", "b", "c"])
    for change in changes:
        change(writer)
    matrix = np.ones((3, 64), np.float32)
    writer.add_tensor("token_embd.weight", matrix)
    q4 = gguf.GGMLQuantizationType.Q4_0
    writer.add_tensor("output.weight", gguf.quants.quantize(matrix, q4), raw_dtype=q4)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_what_it_says_of_its_model(tmp_path: Path) -> None:
    found = read_gguf(
        write(tmp_path / "m.gguf", lambda w: w.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0))
    )
    assert found == (
        "llama", 2 * 3 * 64 + 64, 3, 2048, 2, 2, 16, 96, "q4_0",
        "GGUF, matrices in F32 (1), Q4_0 (1)",
    )  # fmt: skip


def test_a_string_that_is_damaged_is_said_in_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", lambda w: w.add_name("a name"))
    path.write_bytes(path.read_bytes().replace(b"a name", b"a\xff\xffame"))
    with pytest.raises(ModelError, match="m.gguf: damaged: "):
        read_gguf(path)


def test_a_file_that_names_no_type_is_what_most_of_it_is(tmp_path: Path) -> None:
    assert read_gguf(write(tmp_path / "m.gguf")).scheme == "none"


def _of_shards(writer: gguf.GGUFWriter) -> None:
    writer.add_uint16("split.count", 3)


def _adapter(writer: gguf.GGUFWriter) -> None:
    writer.add_type("adapter")


def _encoder(writer: gguf.GGUFWriter) -> None:
    writer.add_causal_attention(False)


def _headless(writer: gguf.GGUFWriter) -> None:
    writer.add_head_count_kv(0)


@pytest.mark.parametrize(
    ("changes", "architecture", "tokenizer", "said"),
    [
        ([_of_shards], "llama", "gpt2", "one file of 3"),
        ([_adapter], "llama", "gpt2", "general.type must be model, got 'adapter'"),
        ([_encoder], "bert", "bert", "'bert' is or has an encoder"),
        ([], "t5", "t5", "'t5' is or has an encoder"),
        ([], "lemma", "gpt2", "architecture is not known: 'lemma'"),
        ([], "llama", None, r"no tokenizer \(tokenizer.ggml.model: None\)"),
        ([], "llama", "none", r"no tokenizer \(tokenizer.ggml.model: none\)"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    changes: list[Change], architecture: str, tokenizer: str | None, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.gguf", *changes, architecture=architecture, tokenizer=tokenizer)
    with pytest.raises(ModelError, match=said) as caught:
        read_gguf(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_or_not_whole_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf")
    whole = path.read_bytes()
    with pytest.raises(ModelError, match="cannot be read"):
        read_gguf(tmp_path / "missing.gguf")
    for raw, said in (
        (b"", "must begin with b'GGUF', got b''"),
        (b"GGML" + whole[4:], "must begin with b'GGUF', got b'GGML'"),
    ):
        path.write_bytes(raw)
        with pytest.raises(ModelError, match=said):
            read_gguf(path)
    # Anywhere: within the header, among the words, in the tensors' table, in the last tensor.
    for length in (4, 9, 24, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="cut short, or damaged") as caught:
            read_gguf(path)
        assert "\n" not in str(caught.value)
