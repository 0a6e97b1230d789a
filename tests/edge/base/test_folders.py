"""Folders swapped whole: by a real exchange, and by two renames where there is none."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import pytest

from escalade.edge.base import folders
from escalade.edge.base.folders import atomic_folder, exchange
from escalade.edge.errors import DataError

linux = pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")


def put(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "marker").write_text(text)
    return folder


@linux
def test_two_folders_change_names(tmp_path: Path) -> None:
    one, other = put(tmp_path / "one", "1"), put(tmp_path / "other", "2")
    (one / "more").touch()
    assert exchange(one, other)
    assert ((one / "marker").read_text(), (other / "marker").read_text()) == ("2", "1")
    assert (other / "more").exists()
    assert not exchange(one, tmp_path / "none")
    assert (one / "marker").read_text() == "2"


@linux
def test_a_reader_never_finds_nothing(tmp_path: Path) -> None:
    folder, stop, missed = put(tmp_path / "folder", "0"), threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not folder.is_dir():
                missed.append(folder)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(1, 201):
            with atomic_folder(folder, marker="marker") as aside:
                put(aside, str(number))
    finally:
        stop.set()
        reader.join()
    assert not missed
    assert (folder / "marker").read_text() == "200"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_written_whole_or_not_at_all(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    folder = tmp_path / "folder"
    for text in ("new", "old"):
        with atomic_folder(folder, marker="marker") as aside:
            put(aside, text)
        assert (folder / "marker").read_text() == text

    def fail() -> None:
        with atomic_folder(folder, marker="marker") as aside:
            put(aside, "half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (folder / "marker").read_text() == "old"
    with (
        pytest.raises(DataError, match="holds no other"),
        atomic_folder(folder, marker="other"),
    ):
        pass
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("there", [False, True])
def test_what_there_is_no_room_for_is_named_and_leaves_what_was_there(
    tmp_path: Path, *, there: bool
) -> None:
    folder = put(tmp_path / "folder", "old") if there else tmp_path / "folder"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on a file's size stands for the full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with (
            pytest.raises(
                DataError, match="folder: cannot be written: File too large after 1,000 by"
            ),
            atomic_folder(folder, marker="marker") as aside,
        ):
            put(aside, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == [folder] * there
    assert not there or (folder / "marker").read_text() == "old"
