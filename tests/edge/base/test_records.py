"""Record files: what is written reads back, and bad lines are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.base.records import Record, read_records, write_records
from escalade.edge.errors import DataError

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
records = st.lists(
    st.builds(Record, id=text, task=text, prompt=text, references=st.lists(text, max_size=3)),
    min_size=1,
    max_size=8,
    unique_by=lambda record: record.id,
)


@given(records)
def test_records_read_back(tmp_path_factory: pytest.TempPathFactory, written: list[Record]) -> None:
    path = tmp_path_factory.mktemp("records") / "data.jsonl"
    assert write_records(path, written) == len(written)
    assert read_records(path) == written


GOOD = b'{"id": "a", "task": "t", "prompt": "p", "references": ["r"]}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no records; at least 1"),
        (b"\n\n", "no records; at least 1"),
        (GOOD + b"{not json\n", ":2: not a valid record"),
        (GOOD + b'{"id": "b", "task": "t", "prompt": "p"}\n', "references"),
        (GOOD + b'{"id": 7, "task": "t", "prompt": "p", "references": []}\n', "`str`"),
        (b'{"id": "b", "task": "t", "prompt": "p", "references": [], "x": 1}\n', "`x`"),
        (b'{"id": "b", "task": "t", "promt": "p", "references": []}', "; did you mean 'prompt'?"),
        (GOOD + b"\n" + GOOD, ":3: id 'a' was already used on line 1"),
        (b'{"id": "\xff"}\n', ":1: not UTF-8 text: byte 0xff at offset 8"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert says in str(caught.value)
    assert "data.jsonl" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl: cannot be read"):
        read_records(tmp_path / "nowhere.jsonl")
