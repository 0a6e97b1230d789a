"""What an expert said is kept before it is used, and given again: never asked for twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.edge.base import SystemClock
from escalade.edge.errors import DataError
from escalade.training.online.experts import CallableExpert
from escalade.training.online.record import Journal
from escalade.training.online.record.files import LineFile
from escalade.training.online.streams import Item

ITEMS = [Item(number, str(number), f"text {number}") for number in range(5)]


def _journal(path: Path, asked: list[str], *, first: int = 0) -> Journal:
    def expert(text: str) -> str:
        asked.append(text)
        if text == "text 3":
            raise ValueError("out of order")
        return text.upper()

    return Journal(path, CallableExpert(expert), SystemClock(), first=first)


def test_answers_and_failures_alike_are_given_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "expert.jsonl", list[str]()
    journal = _journal(path, asked)
    first = [journal.ask(item) for item in ITEMS]
    journal.close()
    again = _journal(path, asked, first=2)
    assert [again.ask(item) for item in ITEMS[2:]] == first[2:]
    again.close()
    assert asked == [item.text for item in ITEMS]
    assert [entry.text for entry in first][:3] == ["TEXT 0", "TEXT 1", "TEXT 2"]
    assert (first[3].text, first[3].error) == (None, "ValueError: out of order")


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_line_that_is_half_there_is_asked_for_again(tmp_path: Path, kept: int) -> None:
    path, asked = tmp_path / "expert.jsonl", list[str]()
    journal = _journal(path, asked)
    for item in ITEMS[:2]:
        journal.ask(item)
    journal.close()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    again = _journal(path, asked)
    assert [again.ask(item).text for item in ITEMS[:2]] == ["TEXT 0", "TEXT 1"]
    again.close()
    assert asked == ["text 0", "text 1", "text 1"]
    assert len(path.read_bytes().splitlines()) == 2


def test_an_answer_to_another_text_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "expert.jsonl"
    journal = _journal(path, [])
    journal.ask(ITEMS[0])
    journal.close()
    again = _journal(path, [])
    with pytest.raises(DataError, match="item 0 had another text"):
        again.ask(ITEMS[0]._replace(text="another"))
    again.close()


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expert.jsonl"
    path.write_text('{"who": "else"}\n')
    with pytest.raises(DataError, match="not a valid record"):
        _journal(path, [])


def test_a_file_that_has_lost_what_a_checkpoint_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"one\n")
    with pytest.raises(DataError, match="has 4 bytes, and 9 when it was written last"):
        LineFile(path, size=9)
