"""Texts that people bring: marks, other encodings, layouts, ends; from files and from pipes."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.edge.base import read_record_file, read_records, read_text
from escalade.edge.errors import DataError

ONE = '{"id": "a", "task": "t", "prompt": "p", "references": ["é"]}'
TWO = ONE.replace('"a"', '"b"')
TEXT = f"{ONE}\n{TWO}\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.encode()[:-1],
        b"\n  \r\n" + TEXT.encode() + b"\n",
    ],
)
def test_marks_and_ends_of_lines_are_no_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    assert [(one.id, one.references) for one in read_records(path)] == [("a", ["é"]), ("b", ["é"])]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TEXT.encode("utf-16"), "data.jsonl: is UTF-16 text; save it as UTF-8"),
        (TEXT.encode("utf-32"), "data.jsonl: is UTF-32 text; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", r"is gzip; give <\(zcat FILE\)"),
        (ONE.encode("latin-1"), ":1: not UTF-8 text: byte 0xe9 at offset 56$"),
        (f"\n{TEXT}".encode() + b"\x80PNG\n", ":4: not UTF-8 text: byte 0x80 at offset 125$"),
        (b"GGUF\3\0\0\0\2\0\0", ":1: not a valid record: JSON is malformed"),
        (f"[{ONE}]".encode(), r":1: .*; JSON Lines are wanted, each record on a line of its own"),
        (f"[\n{ONE},\n{TWO}\n]\n".encode(), ":1: .*; JSON Lines are wanted"),
        (ONE.replace(", ", ",\n").replace("{", "{\n").encode(), ":1: .*; JSON Lines are wanted"),
        (TEXT.replace("\n", "\r").encode(), r":1: lines end in CR \(0x0d\) alone; LF or CRLF"),
        (f"\n{ONE} \r\r {TWO}\r".encode(), r":2: lines end in CR \(0x0d\) alone"),
        (f"{TEXT[:-1]}\r{ONE[:20]}".encode(), r":2: lines end in CR \(0x0d\) alone"),
        (TEXT.encode() + ONE[:20].encode(), r":3: not a valid record: Input data was truncated$"),
    ],
)
def test_what_is_no_json_lines_is_said_in_words(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_records(path)


def through_a_pipe(path: Path, content: bytes) -> threading.Thread:
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    return writer


def test_what_can_be_read_once_is_hashed_as_it_is_read(tmp_path: Path) -> None:
    writer = through_a_pipe(tmp_path / "pipe", TEXT.encode("utf-8-sig"))
    file = read_record_file(tmp_path / "pipe")
    writer.join()
    assert file.sha256 == hashlib.sha256(TEXT.encode("utf-8-sig")).hexdigest()
    assert file.where(file.records[1]) == f"{tmp_path / 'pipe'}:2: record 'b'"


def test_a_dash_is_the_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(TEXT)
    old = os.dup(0)
    with path.open("rb") as stream:
        os.dup2(stream.fileno(), 0)
    try:
        file = read_record_file(Path("-"))
    finally:
        os.dup2(old, 0)
        os.close(old)
    assert [one.id for one in file.records] == ["a", "b"]
    assert file.where(file.records[0]) == "-:1: record 'a'"


@pytest.mark.parametrize("encode", [str.encode, lambda text: text.encode("utf-8-sig")])
def test_a_text_with_or_without_a_mark_is_the_same(encode: Callable[[str], bytes]) -> None:
    stream = io.BytesIO(encode("a = 'é'"))
    assert read_text(stream, Path("x"), 20) == "a = 'é'"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("a".encode("utf-16"), "x: is UTF-16 text"),
        (b"\xe9", "x: not UTF-8 text"),
        (b"a" * 21, "x: more than 20 bytes"),
    ],
)
def test_what_is_no_such_text_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_text(io.BytesIO(raw), Path("x"), 20)
