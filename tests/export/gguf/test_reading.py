"""What a GGUF file says, and the files that are refused in a line; no llama.cpp is needed."""

from __future__ import annotations

import struct
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
    cuts = [refusal(path, whole[:length]) for length in range(4, len(whole))]
    assert {says.partition(" takes ")[0].partition(" at byte ")[0] for says in cuts} >= {
        "the version", "the count of tensors", "the count of keys",
        "the type of key 'tokenizer.ggml.tokens'",
        "the length of key 'tokenizer.ggml.tokens'", "a dimension of tensor 'output.weight'",
        "the place of tensor 'output.weight'", "tensor 'output_norm.weight'",
    }  # fmt: skip
    end = (
        f"tensor 'output_norm.weight' at byte {len(whole) - 256} takes 256 bytes, and 255 are left"
    )
    assert cuts[-1] == end


HUGE = struct.pack("=Q", 1 << 63)


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[bytes, int, bytes], str]:
    """What is said of a file in which other bytes stand so far behind some that it has."""
    path = write(tmp_path / "m.gguf", lambda w: w.add_custom_alignment(32))
    whole = path.read_bytes()

    def damaged(after: bytes, by: int, other: bytes) -> str:
        at = whole.index(after) + len(after) + by
        return refusal(path, whole[:at] + other + whole[at + len(other) :])

    return damaged


def refusal(path: Path, raw: bytes) -> str:
    """What is said of a damaged file, in a line, behind its name."""
    path.write_bytes(raw)
    with pytest.raises(ModelError) as caught:
        read_gguf(path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: cut short, or damaged: ")
    return said.partition("damaged: ")[2]


@pytest.mark.parametrize(
    ("after", "by", "other", "said"),
    [
        (b"GGUF", 0, b"\1", "its version must be 2 or 3, got 1"),
        (b"GGUF", 0, b"\0\0\0\3", "its version must be 2 or 3, got 50331648"),
        (b"GGUF", 4, HUGE, "the count of tensors at byte 8 is 92233720368547"),
        (b"GGUF", 12, struct.pack("=Q", 999), "the count of keys at byte 16 is 999, and the "),
        (b"general.architecture", -28, HUGE, "the name of key 1 of 10 at byte 32"),
        (b"general.architecture", -1, b"\xff", "the name of key 1 of 10 at byte 24 is no UTF-8"),
        (b"general.architecture", 0, b"\x0d", "the type of key 'general.architecture' must be in"),
        (b"general.architecture", 4, HUGE, "key 'general.architecture' at byte"),
        (b"ggml.tokens", 4, b"\x09", "the type in key 'tokenizer.ggml.tokens' is not known: 9"),
        (b"ggml.tokens", 8, struct.pack("=Q", 1 << 40), "the length of key 'tokenizer.ggml"),
        (b"ggml.tokens", 4, struct.pack("=IQ", 4, 1 << 40), "the length of key 'tokenizer.ggml"),
        (b"ggml.tokens", 16, HUGE, "key 'tokenizer.ggml.tokens' at byte"),
        (b"general.alignment", 4, b"\0", "general.alignment must be a power of 2, got 0"),
        (b"general.alignment", 4, b"\x21", "general.alignment must be a power of 2, got 33"),
        (b"output.weight", 0, b"\x05", "tensor 'output.weight' must have at most 4 dimensions"),
        (b"output.weight", 4, HUGE, "tensor 'output.weight' at byte"),
        (b"output.weight", 4, 2 * struct.pack("=Q", 1 << 32), "tensor 'output.weight' at"),
        (b"output.weight", 4, b"\x21", "tensor 'output.weight' has rows of 33, which no blocks of"),
        (b"output.weight", 4, b"\0", "tensor 'output.weight' must have dimensions of 1 or"),
        (b"output.weight", 20, b"\x63", "the type of tensor 'output.weight' is not known: 99"),
        (b"output.weight", 24, HUGE, "tensor 'output.weight' at byte 9223372036"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_the_file_is_said_in_a_line(
    damaged: Callable[[bytes, int, bytes], str], after: bytes, by: int, other: bytes, said: str
) -> None:
    """None is believed: gguf's own reader makes a list as long as an array says it is."""
    assert damaged(after, by, other).startswith(said)


def test_a_tokenizer_of_no_kind_is_refused_in_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf", lambda w: w.add_array("tokenizer.ggml.model", ["a"]), tokenizer=None
    )
    with pytest.raises(ModelError, match=r"no tokenizer \(tokenizer.ggml.model: \['a'\]\)"):
        read_gguf(path)
    path = write(tmp_path / "m.gguf", tokenizer="odd name")
    path.write_bytes(path.read_bytes().replace(b"odd name", b"odd\xffname"))
    with pytest.raises(ModelError, match="m.gguf: damaged: "):
        read_gguf(path)
