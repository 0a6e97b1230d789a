"""Items out of files: what is one, what is refused and why, and that the stream goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from made_streams import LABELS, rows, write
from pyarrow import parquet

from escalade.edge.errors import DataError
from escalade.training.online.streams import Columns, Follow, Span, read_stream, spanned
from escalade.training.online.streams import reading as module

COLUMNS = Columns(id="id", label="gold", expert="said", longest_text=200)


def test_whatever_a_line_holds_it_becomes_an_item(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    lines = [
        b'\xef\xbb\xbf{"id": "a", "text": "one", "gold": 1, "said": "Red."}',
        b"",
        b'{"id": "b", "text": ""}',
        b'{"id": "c", "text": "' + b"x" * 201 + b'"}',
        b'{"id": "d", "text": "\xff"}',
        b'{"id": "a", "text": "one again"}',
        b'{"id": "e", "text": 7}',
        b'{"id": "f"}',
        b"[1]",
        b"nonsense",
        b'{"text": "half a character \\ud800"}',
        b'{"text": ' * 9999,
        b'{"text": "two", "gold": 9, "said": -1}',
    ]
    path.write_bytes(b"\n".join(lines))
    items = list(read_stream(path, COLUMNS, LABELS))
    assert [item.number for item in items] == list(range(12))
    assert [item.refused for item in items] == [
        "",
        "empty text",
        "text longer than 200 characters",
        "not UTF-8",
        "id was there before",
        "'text' is no text",
        "no 'text'",
        "no JSON object",
        "no JSON",
        "no JSON",
        "JSON nested too deep",
        "",
    ]
    assert items[0][1:5] == ("a", "one", "green", "Red.")
    # A number that is no class is the learner's to count; as an answer it names no label.
    assert items[-1][1:5] == ("11", "two", "9", "")


@pytest.mark.parametrize(
    ("labels", "value", "named"),
    [
        (["red", "green"], 1, "green"),
        (["1", "2"], 1, "1"),  # not the second: it is a name
        (["0", "1"], 0, "0"),
        (["red", "green"], "green", "green"),
        (["true", "false"], True, "true"),
        (["red", "green"], True, "true"),  # a name that is no class, and not the second
    ],
)
def test_a_class_is_told_by_its_number_unless_numbers_are_names(
    tmp_path: Path, labels: list[str], value: object, named: str
) -> None:
    path = write(tmp_path / "items.jsonl", [{"text": "a", "gold": value, "said": value}])
    (item,) = read_stream(path, Columns(label="gold", expert="said"), labels)
    assert (item.label, item.expert) == (named, named)


def test_a_line_without_end_is_skipped_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 64)
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"text": "' + b"y" * 500 + b'"}\n{"text": "next"}\n' + b"z" * 64 + b"\n")
    items = list(read_stream(path, Columns(), LABELS))
    assert [item.refused for item in items] == [
        "line longer than 64 bytes",
        "",
        "line longer than 64 bytes",
    ]


def test_parquet_gives_what_json_lines_give(tmp_path: Path) -> None:
    made = rows(2500)
    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(made), path)
    of_lines = list(read_stream(write(tmp_path / "items.jsonl", made), COLUMNS, LABELS))
    assert list(read_stream(path, COLUMNS, LABELS)) == of_lines


def test_parquet_with_a_text_that_is_none_loses_that_row_alone(tmp_path: Path) -> None:
    bad = pyarrow.array([b"good", b"\xff\xfe", b"fine"]).cast(pyarrow.binary())
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, bad.buffers())
    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.table({"text": texts}), path)
    items = list(read_stream(path, Columns(), LABELS))
    assert [(item.text, item.refused) for item in items] == [
        ("good", ""),
        ("", "not UTF-8"),
        ("fine", ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "cannot be read: No such file"),
        ("bad.parquet", b"PAR1 not", "no parquet that can be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(read_stream(path, Columns(), LABELS))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.table({"texts": ["a"], "gold": [1]}), path)
    with pytest.raises(DataError, match="has no column 'text'; it has texts, gold"):
        list(read_stream(path, Columns(), LABELS))


class _GrowingClock:
    """Its sleep is when others add a file."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder, self._files, self._now_s = folder, files, 0.0

    def now_s(self) -> float:
        return self._now_s

    def sleep_s(self, seconds: float) -> None:
        self._now_s += seconds
        if self._files:
            name = self._files.pop(0)
            write(self._folder / name, [{"text": name}])


def test_a_folder_is_followed_until_nothing_has_come_for_long_enough(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", [{"text": "first"}])
    write(tmp_path / ".2.jsonl", [{"text": "half there"}])
    (tmp_path / "notes.txt").write_text("no items")
    clock = _GrowingClock(tmp_path, ["2.jsonl", "3.jsonl"])
    items = read_stream(tmp_path, Columns(), LABELS, Follow(3.0, clock))
    assert [item.text for item in items] == ["first", "2.jsonl", "3.jsonl"]
    assert clock.now_s() >= 4.0


def test_a_file_that_comes_late_is_no_part_of_another_order(tmp_path: Path) -> None:
    write(tmp_path / "2.jsonl", [{"text": "second"}])
    clock = _GrowingClock(tmp_path, ["1.jsonl"])
    with pytest.raises(DataError, match="came after 2.jsonl was read"):
        list(read_stream(tmp_path, Columns(), LABELS, Follow(3.0, clock)))


def test_a_span_is_a_part_of_one_order(tmp_path: Path) -> None:
    path = write(tmp_path / "items.jsonl", rows(100))

    def ids(span: Span) -> list[str]:
        items = list(spanned(read_stream(path, COLUMNS, LABELS), span))
        assert [item.number for item in items] == list(range(len(items)))
        return [item.id for item in items]

    whole = ids(Span(shuffle=3))
    assert whole != ids(Span())
    assert Counter(whole) == Counter(ids(Span()))
    assert ids(Span(shuffle=3, skip=20, limit=30)) == whole[20:50]
    assert ids(Span(shuffle=4)) != whole


@pytest.mark.parametrize("name", ["text", "id", "expert"])
def test_a_column_that_no_line_has_is_named_with_those_that_are_there(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"text": "a", "said": "b"}\n' * 200)
    known = Columns(text="text", id=None, expert="said")
    mistyped = known._replace(**{name: "mistyped"})
    assert len([*read_stream(path, known, LABELS)]) == 200
    with pytest.raises(
        DataError, match=r"first 100 rows has 'mistyped'; the last has 'text', 'said'"
    ):
        next(read_stream(path, mistyped, LABELS))
    path.write_text('nonsense\n{"text": "a", "said": "b"}\n')
    with pytest.raises(DataError, match=r"of the 2 rows has 'mistyped'; the last has 'text'"):
        next(read_stream(path, mistyped, LABELS))
    # Where there is no row at all, none is missing.
    path.write_text("nonsense\n" * 120)
    assert len([*read_stream(path, mistyped, LABELS)]) == 120
    path.write_text('{"text": "a", "said": "b"}\n' * 200)
    # One that comes seldom is no mistake, nor is a class that is never told.
    path.write_text('{"text": "a", "said": "b", "mistyped": "1"}\n' + path.read_text())
    assert len([*read_stream(path, known._replace(expert="mistyped"), LABELS)]) == 201
    assert len([*read_stream(path, known._replace(label="never"), LABELS)]) == 201
