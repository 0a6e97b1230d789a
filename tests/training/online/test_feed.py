"""Queries handed over in files: in order, none lost, none twice, whoever dies or fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.edge.errors import DataError
from escalade.training.online import feed
from escalade.training.online.feed import FeedEntry, FeedReader, FeedWriter


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_ENTRIES_PER_FILE", 3)


def add(writer: FeedWriter, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        writer.add(f"text {number}", "joy", sampled=number % 2 == 0, kept="sad" * (number % 2))


def entry(number: int) -> FeedEntry:
    return FeedEntry(
        number=number,
        text=f"text {number}",
        expert="joy",
        sampled=number % 2 == 0,
        kept="sad" * (number % 2),
    )


def test_entries_come_once_and_in_order_across_files_and_restarts(tmp_path: Path) -> None:
    reader = FeedReader(tmp_path / "feed", 0)
    taken = list[FeedEntry]()
    for round_ in range(5):
        writer = FeedWriter(tmp_path / "feed")
        assert [*reader.take()] == []
        add(writer, 2, first=2 * round_)
        taken += reader.take()
        writer.close()
    assert taken == [entry(number) for number in range(10)]
    assert [*FeedReader(tmp_path / "feed", 4).take()] == taken[4:]
    assert sorted(path.name for path in (tmp_path / "feed").iterdir()) == [
        f"{first:020}.jsonl" for first in (0, 3, 6, 9)
    ]


def test_who_stops_in_the_midst_goes_on_there(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path)
    add(writer, 8)
    reader = FeedReader(tmp_path, 0)
    first = [one for one, _ in zip(reader.take(), range(4), strict=False)]
    writer.close()
    rest = [one.number for one in reader.take()]
    assert [*(one.number for one in first), *rest][-1] == 7
    assert rest == list(range(8 - len(rest), 8))


def test_files_go_once_all_in_them_is_behind_and_the_last_stays(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path)
    add(writer, 9)
    reader = FeedReader(tmp_path, 0)
    reader.drop(5)
    assert min(int(path.stem) for path in tmp_path.iterdir()) == 3
    reader.drop(9)
    assert [int(path.stem) for path in tmp_path.iterdir()] == [6]
    writer.close()
    writer = FeedWriter(tmp_path)
    add(writer, 1, first=9)
    assert [one.number for one in FeedReader(tmp_path, 9).take()] == [9]
    writer.close()


def test_half_an_entry_is_not_taken_and_goes(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path)
    add(writer, 2)
    writer.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader = FeedReader(tmp_path, 0)
    assert [*reader.take()] == [entry(0)]
    writer = FeedWriter(tmp_path)
    add(writer, 1, first=1)
    assert [*reader.take()] == [entry(1)]
    assert path.read_bytes() == whole
    writer.close()


def test_what_a_full_disk_refuses_leaves_the_feed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FeedWriter(tmp_path)
    add(writer, 1)

    def half(line: bytes) -> None:
        with (tmp_path / f"{0:020}.jsonl").open("ab") as stream:
            stream.write(line[:7])
        raise DataError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr(writer._file, "add", half)
        for _ in range(2):
            with pytest.raises(DataError, match="No space left"):
                writer.add("lost", "joy", sampled=False)
            full.setattr(feed.LineFile, "add", lambda self, line: half(line))
    add(writer, 1, first=1)
    assert [*FeedReader(tmp_path, 0).take()] == [entry(0), entry(1)]
    writer.close()


def test_one_process_adds_and_none_after_the_end(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path)
    with pytest.raises(DataError, match=str(tmp_path)):
        FeedWriter(tmp_path)
    writer.close()
    with pytest.raises(DataError, match="was closed"):
        add(writer, 1)
    FeedWriter(tmp_path).close()


@pytest.mark.parametrize("first", [5, 1])
def test_another_feed_is_told_from_one_that_has_nothing_new(tmp_path: Path, first: int) -> None:
    """It was begun anew after 5 entries; or files before the checkpoint's are missing."""
    writer = FeedWriter(tmp_path)
    add(writer, 3 if first == 5 else 9)
    writer.close()
    if first == 1:
        (tmp_path / f"{0:020}.jsonl").unlink()
    with pytest.raises(DataError, match=f"entry {first} is missing"):
        [*FeedReader(tmp_path, first).take()]
    assert [*FeedReader(tmp_path, 3 if first == 5 else 9).take()] == []
