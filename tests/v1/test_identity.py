"""Who a model is, read off its files; what is no such file is refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from escalade.v1.identity import tokenizer_fingerprint, weights_revision


def test_fingerprint_is_of_the_meaning_not_of_the_bytes(tmp_path: Path) -> None:
    content = {"version": "1.0", "model": {"vocab": {"é": 0, "b": 1}}}
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(content, indent=2))
    settings = tmp_path / "settings.json"
    changed = {"truncation": {"max_length": 8}, "padding": {"pad_id": 0}, **content}
    settings.write_text(json.dumps(dict(reversed(changed.items())), ensure_ascii=False))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**content, "version": "1.1"}))
    canonical = '{"model":{"vocab":{"b":1,"é":0}},"version":"1.0"}'
    assert tokenizer_fingerprint(plain) == hashlib.sha256(canonical.encode()).hexdigest()
    assert tokenizer_fingerprint(settings) == tokenizer_fingerprint(plain)
    assert tokenizer_fingerprint(other) != tokenizer_fingerprint(plain)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b"{" * 10,
        b'{"model":"\\ud800"}',
        b"\xff\xfe",
        b"\xff\xfe{",
        b"[]",
        b'{"model":' + b"9" * 5000 + b"}",
    ],
)
def test_a_tokenizer_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer\.json: ") as error:
        tokenizer_fingerprint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"type": "BPE", "dropout": 0.1}, r"model\.dropout must be null, got 0\.1"),
        ({"dropout": 1.0}, r"model\.dropout must be null, got 1\.0"),
        ({"type": "Unigram", "alpha": 0.2}, r"model\.alpha must be null, got 0\.2"),
        ({"type": "Unigram", "nbest_size": 5}, r"model\.nbest_size must be null, got 5"),
    ],
)
def test_what_reads_one_text_in_many_ways_has_no_fingerprint(
    tmp_path: Path, model: dict[str, object], named: str
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": model}))
    with pytest.raises(ValueError, match=rf"tokenizer\.json: {named}: "):
        tokenizer_fingerprint(path)
    path.write_text(json.dumps({"model": {**model, **dict.fromkeys(model, None)}}))
    assert len(tokenizer_fingerprint(path)) == 64


def test_a_tokenizer_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        tokenizer_fingerprint(tmp_path / "tokenizer.json")


def test_revision_is_over_all_weight_files_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"second")
    (tmp_path / "a.safetensors").write_bytes(b"first ")
    (tmp_path / "notes.txt").write_bytes(b"not weights")
    assert weights_revision(tmp_path) == hashlib.sha256(b"first second").hexdigest()


def test_a_folder_without_weights_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(ValueError, match=r"no \*\.safetensors file"):
        weights_revision(tmp_path)
