"""What is kept of where data came from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from escalade.edge.base import source_name


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("-", "standard input"),
        ("/dev/stdin", "standard input"),
        ("/dev/fd/63", "a pipe"),
        ("/proc/self/fd/3", "a pipe"),
        ("data/valid.jsonl", "valid.jsonl"),
        ("fd/63", "63"),
    ],
)
def test_a_pipe_has_no_name_to_keep(typed: str, kept: str) -> None:
    assert source_name(Path(typed)) == kept


def test_a_pipe_with_a_name_is_one_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queries")
    assert source_name(tmp_path / "queries") == "a pipe"
